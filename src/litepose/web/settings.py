"""What a server allows: sizes, counts, times, who may ask."""

from __future__ import annotations

from dataclasses import dataclass

from litepose.errors import SettingError

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class ServeSettings:
    """Limits of a server. What is beyond one is answered with an error status and a sentence.

    max_upload_mb: of a request, 10^6 bytes. max_megapixels: of a picture, as its header declares.
    max_pictures: of a request. workers: requests that compute at once; queue: that wait for it, beyond is 429.
    timeout_s: from a request's first byte to its answer. token: that requests must bear; None = anybody may ask.
    """

    max_upload_mb: float = 20.0
    max_megapixels: float = 25.0
    max_pictures: int = 16
    workers: int = 1
    queue: int = 16
    timeout_s: float = 30.0
    token: str | None = None

    def __post_init__(self) -> None:
        for name, least in (("max_pictures", 1), ("workers", 1), ("queue", 0)):
            if getattr(self, name) < least:
                raise SettingError(f"A server needs {name} of at least {least}; found {getattr(self, name)}.")
        for name in ("max_upload_mb", "max_megapixels", "timeout_s"):
            if not 0 < getattr(self, name) < float("inf"):
                raise SettingError(f"A server needs a positive {name}; found {getattr(self, name)}.")
        if self.token is not None and (len(self.token) < 8 or not self.token.isascii() or " " in self.token):
            raise SettingError(
                "A token has at least 8 ASCII characters without blanks; this one does not. Make one: "
                "python -c 'import secrets; print(secrets.token_urlsafe())'"
            )

    @property
    def max_bytes(self) -> int:
        """Bytes of a request's body."""
        return round(self.max_upload_mb * 1e6)
