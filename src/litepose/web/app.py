"""The HTTP API and the page's files as one ASGI application."""

# No `from __future__ import annotations` here: FastAPI reads the annotations of functions that are made inside one.

import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from litepose import __version__
from litepose.errors import LiteposeError, MissingPackageError, PictureError, nearest_name
from litepose.web.answers import Health, Model, People, Problem
from litepose.web.finding import TooManyPixels, find_people, plain_name
from litepose.web.guard import BATCH, METRICS, ONE, PICTURE_TYPES, Guard
from litepose.web.jobs import Jobs
from litepose.web.metrics import CONTENT_TYPE, Metrics
from litepose.web.settings import ServeSettings

if TYPE_CHECKING:
    from litepose.predictor import Predictor

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": what}
    for status, what in {
        400: "the body is no form, or broken off",
        401: "the token is missing or wrong",
        403: "the request comes from a page of another site",
        408: "the body did not come in time",
        413: "too many bytes or pixels",
        415: "no kind of content that is taken",
        422: "no picture, a broken one, too many, or a setting without meaning",
        429: "all places are taken: ask again",
        503: "the answer was not ready in time: ask again",
    }.items()
}
UNAUTHORIZED = {401: PROBLEMS[401]}


class Unusable(LiteposeError):
    """A request whose settings or form cannot be used. status: of HTTP."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def create_app(
    predictors: Mapping[str, "Predictor"], settings: ServeSettings | None = None, *, site: Path | None = None
) -> Any:
    """Return the application. predictors: by name, the first one is the default. site: a folder with the page.

    Raises MissingPackageError.
    """
    fastapi = check_packages()
    settings = settings or ServeSettings()
    jobs, metrics = Jobs(settings.workers, settings.queue), Metrics()

    @asynccontextmanager
    async def running(app: Any) -> Any:
        yield
        jobs.close()

    app = fastapi.FastAPI(
        title="litepose", version=__version__, description="People in pictures: keypoints, boxes, scores.",
        docs_url=None, redoc_url=None, lifespan=running,  # the pages of both would load scripts from elsewhere
    )  # fmt: skip
    app.add_middleware(Guard, settings=settings, jobs=jobs, metrics=metrics)
    _add_errors(app, fastapi)
    _add_facts(app, fastapi, predictors, jobs, metrics)
    _add_people(app, fastapi, _Finder(predictors, settings, jobs, metrics))
    if settings.token is not None:
        _describe_token(app)
    if site is not None:
        from fastapi.staticfiles import StaticFiles

        app.mount("/", StaticFiles(directory=site, html=True), name="page")
    return app


class _Finder:
    """Requests for people, passed to a thread. Called with a request's files and settings."""

    def __init__(
        self, predictors: Mapping[str, "Predictor"], settings: ServeSettings, jobs: Jobs, metrics: Metrics
    ) -> None:
        self.predictors = predictors
        self.settings = settings
        self.jobs = jobs
        self.metrics = metrics

    async def __call__(self, request: Any, files: list[tuple[str, bytes]], model: str | None, min_score: float) -> Any:
        from fastapi.responses import JSONResponse, Response

        name = next(iter(self.predictors)) if model is None else model
        if name not in self.predictors:
            raise Unusable(422, f"No model {name!r} is served. {nearest_name(name, self.predictors)}")

        def work() -> bytes:
            return find_people(
                self.predictors[name], files, model=name, min_score=min_score,
                max_megapixels=self.settings.max_megapixels, metrics=self.metrics,
            )  # fmt: skip

        state = request.state
        try:
            text = await self.jobs.run(state.place, work, timeout_s=state.deadline - time.monotonic())
        except TimeoutError:
            text_of_problem = f"The answer was not ready within {self.settings.timeout_s:g} s. Ask again, or for less."
            return JSONResponse({"error": text_of_problem}, 503, {"retry-after": "1"})
        return Response(text, media_type="application/json")


def _add_people(app: Any, fastapi: Any, find: _Finder) -> None:
    """Add the routes that look at pictures."""
    from fastapi import Query, Request

    names = list(find.predictors)
    ModelQuery = Annotated[
        str | None, Query(description="A name of /v1/models; default: its first.", json_schema_extra={"enum": names})
    ]
    ScoreQuery = Annotated[
        float, Query(ge=0, le=1, allow_inf_nan=False, description="Leave out people whose score is lower.")
    ]
    binary = {"type": "string", "format": "binary"}
    one_body = {"required": True, "content": {kind: {"schema": binary} for kind in PICTURE_TYPES}}
    schema = {
        "type": "object", "required": ["files"], "properties": {
            "files": {"type": "array", "items": binary, "minItems": 1, "maxItems": find.settings.max_pictures}
        },
    }  # fmt: skip
    batch_body = {"required": True, "content": {"multipart/form-data": {"schema": schema}}}

    @app.post(ONE, response_model=People, responses=PROBLEMS, openapi_extra={"requestBody": one_body})
    async def people(request: Request, model: ModelQuery = None, min_score: ScoreQuery = 0.2) -> Any:
        """Find the people of one picture: the body is the picture file."""
        return await find(request, [(plain_name(None, 1), await request.body())], model, min_score)

    @app.post(BATCH, response_model=People, responses=PROBLEMS, openapi_extra={"requestBody": batch_body})
    async def people_of_several(request: Request, model: ModelQuery = None, min_score: ScoreQuery = 0.2) -> Any:
        """Find the people of several pictures: the body is a form whose fields `files` are the picture files."""
        files = await _files(request, find.settings.max_pictures)
        return await find(request, files, model, min_score)


async def _files(request: Any, most: int) -> list[tuple[str, bytes]]:
    """Return names and bytes of a form's files. Raises Unusable."""
    from starlette.datastructures import UploadFile
    from starlette.exceptions import HTTPException

    try:
        async with request.form(max_files=most + 1, max_fields=10) as form:
            uploads = [one for one in form.getlist("files") if isinstance(one, UploadFile)]
            if len(uploads) > most:
                raise Unusable(422, f"A request may have {most} pictures; this one has more.")
            if not uploads or len(uploads) < len(form.multi_items()):
                raise Unusable(422, "A form with files in fields named `files`, and nothing else, is wanted.")
            return [(plain_name(one.filename, i), await one.read()) for i, one in enumerate(uploads, 1)]
    except HTTPException as error:
        raise Unusable(422 if "Too many files" in str(error.detail) else 400, str(error.detail)) from error


def _add_facts(app: Any, fastapi: Any, predictors: Mapping[str, "Predictor"], jobs: Jobs, metrics: Metrics) -> None:
    """Add the routes that tell of the server itself."""
    from fastapi.responses import Response

    text = {"description": "the counters", "content": {"text/plain": {"schema": {"type": "string"}}}}

    @app.get("/v1/models", responses=UNAUTHORIZED)
    async def models() -> list[Model]:
        """List the models that can be asked for, the default one first."""
        return [
            Model(
                name=name, skeleton=one.skeleton.name, keypoints=list(one.skeleton.keypoints),
                input_size=list(one.size or one.spec.input.size), top_down=one.takes_boxes,
            )
            for name, one in predictors.items()
        ]  # fmt: skip

    @app.get("/health")
    async def health() -> Health:
        """Tell whether the server is up, without a token."""
        return Health(status="ok", version=__version__, waiting=jobs.taken, places=jobs.places)

    @app.get(METRICS, response_class=Response, responses={200: text, **UNAUTHORIZED})
    async def counters() -> Any:
        """Give the counters, as Prometheus reads them."""
        return Response(metrics.text(jobs.taken, jobs.places), media_type=CONTENT_TYPE)


def _add_errors(app: Any, fastapi: Any) -> None:
    """Let every error answer {"error": a sentence}."""
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse
    from starlette.exceptions import HTTPException

    def answering(status: Callable[[Any], int], text: Callable[[Any], str]) -> Callable[..., Awaitable[Any]]:
        async def answer(request: Any, error: Any) -> Any:
            headers = getattr(error, "headers", None)
            return JSONResponse({"error": text(error)}, status(error), headers)

        return answer

    app.add_exception_handler(PictureError, answering(lambda _: 422, str))
    app.add_exception_handler(TooManyPixels, answering(lambda _: 413, str))
    app.add_exception_handler(Unusable, answering(lambda error: error.status, str))
    app.add_exception_handler(HTTPException, answering(lambda error: error.status_code, lambda error: error.detail))
    app.add_exception_handler(RequestValidationError, answering(lambda _: 422, _first_complaint))
    app.add_exception_handler(
        Exception, answering(lambda _: 500, lambda _: "An error of the server; its log says more.")
    )


def _first_complaint(error: Any) -> str:
    one = error.errors()[0]
    return f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}"


def _describe_token(app: Any) -> None:
    """Say in the OpenAPI document that requests bear a token."""
    original = app.openapi

    def described() -> Any:
        document = original()
        document.setdefault("components", {})["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        for path, methods in document["paths"].items():
            for operation in methods.values():
                operation["security"] = [] if path == "/health" else [{"token": []}]
        return document

    app.openapi = described


def check_packages() -> Any:
    """Return FastAPI. Raises MissingPackageError where it or what it needs is not installed."""
    try:
        import fastapi
        import python_multipart  # noqa: F401 - FastAPI reads forms with it
    except ImportError as error:
        raise MissingPackageError(
            f"litepose serve needs the package {(error.name or '').replace('_', '-')}, which is not installed. "
            "Install it: pip install 'litepose[web]'."
        ) from error
    return fastapi
