# SPDX-License-Identifier: LGPL-2.1-or-later
"""A web server on the loopback interface that misbehaves as it is told."""
import http.server
import re
import threading


class Server:
    """Serves @files (path -> bytes). @tricks (path -> list of functions) are
    used up one a request; without one left, a path is served as it should be.
    @requests lists (path, Range header or None)."""

    def __init__(self, files, tls=None):
        server = self
        self.files = files
        self.tricks = {}
        self.requests = []
        self.released = threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'
            disable_nagle_algorithm = True

            def do_GET(self):
                server.answer(self)

            def log_message(self, *args):
                pass

        self.http = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.http.daemon_threads = True
        self.http.block_on_close = False
        self.http.handle_error = lambda *args: None  # killed clients
        if tls is not None:
            self.http.socket = tls.wrap_socket(self.http.socket,
                                               server_side=True)
        scheme = 'http' if tls is None else 'https'
        self.url = f'{scheme}://127.0.0.1:{self.http.server_address[1]}'
        threading.Thread(target=self.http.serve_forever,
                         args=[0.02], daemon=True).start()

    def close(self):
        self.released.set()
        self.http.shutdown()
        self.http.server_close()

    def answer(self, request):
        self.requests.append((request.path, request.headers['Range']))
        tricks = self.tricks.get(request.path)
        if tricks:
            tricks.pop(0)(self, request)
        elif request.path in self.files:
            self.serve(request, self.files[request.path])
        else:
            status(404)(self, request)

    def serve(self, request, data):
        """As a good server does, ranges too."""
        asked = re.fullmatch(r'bytes=(\d+)-', request.headers['Range'] or '')
        start = int(asked[1]) if asked else 0
        if asked and start >= len(data):
            status(416)(self, request)
            return
        request.send_response(206 if asked else 200)
        if asked:
            request.send_header(
                'Content-Range',
                f'bytes {start}-{len(data) - 1}/{len(data)}')
        send_body(request, data[start:], len(data) - start)


def send_body(request, data, length):
    request.send_header('Content-Length', str(length))
    request.end_headers()
    request.wfile.write(data)
    request.wfile.flush()


def status(code):
    def trick(server, request):
        request.send_response(code)
        send_body(request, b'sorry', 5)
    return trick


def cut_off(server, request):
    """Half of the file, then no more connection."""
    data = server.files[request.path]
    request.send_response(200)
    send_body(request, data[:len(data) // 2], len(data))
    request.close_connection = True


def hang_up(server, request):
    """Not even an answer."""
    request.close_connection = True


def stall(server, request):
    """Half of the file, then silence."""
    data = server.files[request.path]
    request.send_response(200)
    send_body(request, data[:len(data) // 2], len(data))
    server.released.wait(60)


def stall_at_once(server, request):
    server.released.wait(60)


def ignore_range(server, request):
    data = server.files[request.path]
    request.send_response(200)
    send_body(request, data, len(data))


def wrong_bytes(server, request):
    data = server.files[request.path]
    request.send_response(200)
    send_body(request, bytes(len(data)), len(data))


def wrong_half(server, request):
    data = server.files[request.path]
    request.send_response(200)
    send_body(request, bytes(len(data) // 2), len(data))
    request.close_connection = True


def promise_more(server, request):
    data = server.files[request.path]
    request.send_response(200)
    send_body(request, data, len(data) + 10)
    request.close_connection = True


def promise_less(server, request):
    data = server.files[request.path]
    request.send_response(200)
    send_body(request, data, len(data) - 10)
    request.close_connection = True


def endless(server, request):
    request.send_response(200)
    request.send_header('Transfer-Encoding', 'chunked')
    request.end_headers()
    try:
        while not server.released.is_set():
            request.wfile.write(b'10000\r\n' + bytes(0x10000) + b'\r\n')
    except OSError:
        pass
    request.close_connection = True


def redirect(target):
    def trick(server, request):
        request.send_response(302)
        request.send_header('Location', target)
        send_body(request, b'', 0)
    return trick
