# litepose on a CPU, without torch: docker build -t litepose . ; see docs/deploy.md.
FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim
COPY constraints.txt /tmp/constraints.txt
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-compile -c /tmp/constraints.txt /wheels/*.whl
RUN useradd --create-home --uid 1000 litepose
USER litepose
WORKDIR /pictures
ENTRYPOINT ["litepose"]
CMD ["--help"]
