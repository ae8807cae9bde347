"""A network camera on the loopback, for tests: RTSP 1.0 (RFC 2326) with VP8 over RTP (RFC 7741) inside the connection.

It knows what a caller asks who takes the video through the connection: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN.
"""

from __future__ import annotations

import contextlib
import socketserver
import struct
import threading
import time
from fractions import Fraction

from video_files import SIZE, av, grey

PAYLOAD = 1200  # bytes of a frame in one packet
METHODS = "OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"


def vp8_frames(images) -> list[bytes]:
    """Return pictures as VP8, each one by itself, so that a caller may begin at any."""
    height, width = images[0].shape[:2]
    codec = av.CodecContext.create("libvpx", "w")
    codec.width, codec.height, codec.pix_fmt, codec.time_base = width, height, "yuv420p", Fraction(1, 25)
    codec.options = {"deadline": "realtime", "cpu-used": "8", "g": "1", "lag-in-frames": "0"}
    packets = []
    for i, image in enumerate(images):
        frame = av.VideoFrame.from_ndarray(image, format="bgr24")
        frame.pts = i
        packets += codec.encode(frame)
    return [bytes(packet) for packet in packets + codec.encode(None)]


class RtspCamera(socketserver.ThreadingTCPServer):
    """A context: serves at `address`, in its own threads. Closed and made again with its port, it is back.

    pictures: that each caller gets, then it hangs up. gap_s: between them. length_s: that it says it lasts.
    silent: the method that it never answers; "frames" = it answers all, and sends nothing.
    """

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, *, port=0, pictures=12, gap_s=0.02, length_s=None, silent=None):
        super().__init__(("127.0.0.1", port), _Caller)
        self.port = self.server_address[1]
        self.address = f"rtsp://127.0.0.1:{self.port}/live"
        self.frames = vp8_frames([grey(20 + 10 * (i % 20)) for i in range(min(pictures, 20))])
        self.pictures, self.gap_s, self.length_s, self.silent = pictures, gap_s, length_s, silent
        self.callers = 0
        self.connections = []

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()
        for connection in self.connections:  # as a camera that loses its power
            with contextlib.suppress(OSError):
                connection.shutdown(2)


class _Caller(socketserver.StreamRequestHandler):
    """One connection."""

    def handle(self):
        self.server.connections.append(self.connection)
        with contextlib.suppress(OSError):
            while request := self.read_request():
                method, number = request
                if method == self.server.silent:
                    self.rfile.read()  # until the caller hangs up
                    return
                self.answer(method, number)
                if method == "TEARDOWN":
                    return
                if method == "PLAY":
                    self.play()
                    return

    def read_request(self):
        """Return (method, CSeq) of the next request, None at the end."""
        lines = []
        while line := self.rfile.readline().decode().strip():
            lines.append(line)
        if not lines:
            return None
        number = next(line.split(":")[1].strip() for line in lines if line.lower().startswith("cseq"))
        return lines[0].split()[0], number

    def answer(self, method, number):
        head, body = [f"CSeq: {number}", "Session: 1"], ""
        if method == "OPTIONS":
            head.append(f"Public: {METHODS}")
        if method == "DESCRIBE":
            body = self.description()
            head += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
        if method == "SETUP":
            head.append("Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
        self.wfile.write(("\r\n".join(["RTSP/1.0 200 OK", *head]) + "\r\n\r\n" + body).encode())

    def description(self):
        lines = ["v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=camera", "c=IN IP4 0.0.0.0", "t=0 0"]
        if self.server.length_s is not None:
            lines.append(f"a=range:npt=0-{self.server.length_s:g}")
        lines += ["m=video 0 RTP/AVP 96", "a=rtpmap:96 VP8/90000", "a=control:video", ""]
        return "\r\n".join(lines)

    def play(self):
        self.server.callers += 1
        if self.server.silent == "frames":
            self.rfile.read()
        sequence = 0
        for i in range(self.server.pictures):
            frame = self.server.frames[i % len(self.server.frames)]
            parts = [frame[at : at + PAYLOAD] for at in range(0, len(frame), PAYLOAD)]
            for part in parts:
                last = part is parts[-1]
                rtp = struct.pack(">BBHII", 0x80, 96 | last << 7, sequence % 2**16, i * 3600, 1)
                payload = rtp + (b"\x10" if part is parts[0] else b"\x00") + part  # a frame's first packet is marked
                self.wfile.write(struct.pack(">cBH", b"$", 0, len(payload)) + payload)
                sequence += 1
            time.sleep(self.server.gap_s)


__all__ = ["SIZE", "RtspCamera"]
