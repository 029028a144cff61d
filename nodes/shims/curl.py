"""curl and wget: what is behind http:// and https://."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from nodes.shims import ends
from nodes.shims.ask import options, words, wrong
from nodes.shims.flags import Options, Wrong, fail

if TYPE_CHECKING:
    import http.client

_USAGE = "[-sSviILfkON] [-o FILE] [-X METHOD] [-d DATA] [-H HEADER] [-w FORMAT] [-m SECONDS] URL ..."
_KNOWN = {
    "-o": "output=",
    "--output": "output=",
    "-O": "remote_name",
    "--remote-name": "remote_name",
    "-s": "silent",
    "--silent": "silent",
    "-S": "show_error",
    "--show-error": "show_error",
    "-v": "verbose",
    "--verbose": "verbose",
    "-i": "include",
    "--include": "include",
    "-I": "head",
    "--head": "head",
    "-L": "location",
    "--location": "location",
    "-f": "fail",
    "--fail": "fail",
    "-k": "insecure",
    "--insecure": "insecure",
    "-X": "request=",
    "--request": "request=",
    "-d": "data+",
    "--data": "data+",
    "--data-binary": "data+",
    "-T": "upload=",
    "--upload-file": "upload=",
    "-H": "header+",
    "--header": "header+",
    "-A": "agent=",
    "--user-agent": "agent=",
    "-w": "write_out=",
    "--write-out": "write_out=",
    "-m": "max_time=",
    "--max-time": "max_time=",
    "--connect-timeout": "connect_timeout=",
    "-4": "ipv4",
    "--ipv4": "ipv4",
    "-6": "ipv6",
    "--ipv6": "ipv6",
    "-g": "globoff",
    "--globoff": "globoff",
    "-N": "no_buffer",
    "--cacert": "cacert=",
    "--http1.1": "http11",
    "-0": "http10",
    "--http1.0": "http10",
    "--limit-rate": "limit_rate=",
    "--local-port": "local_port=",
    "--url": "urls+",
    "-#": "bar",
}
_WGET_USAGE = "[-O FILE] [-q] [-nv] [-S] [-T SECONDS] [-t TRIES] URL ..."
_WGET_KNOWN = {
    "-O": "output=",
    "--output-document": "output=",
    "-q": "quiet",
    "--quiet": "quiet",
    "-nv": "brief",
    "-S": "head",
    "-T": "max_time=",
    "--timeout": "max_time=",
    "-t": "tries=",
    "--tries": "tries=",
    "-4": "ipv4",
    "-6": "ipv6",
    "-v": "verbose",
    "--no-check-certificate": "insecure",
    "--header": "header+",
    "--no-proxy": "no_proxy",
}
#: curl's exit codes.
_BAD_URL, _NO_HOST, _NO_CONNECTION, _HTTP_ERROR, _WRITE, _TIMEOUT = 3, 6, 7, 22, 23, 28
_TLS, _EMPTY, _RECEIVE, _REDIRECTS, _PARTIAL = 60, 52, 56, 47, 18
_PIECE = 1 << 16


class _Failed(Exception):
    """A transfer has failed, with curl's exit code and words."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def run(name: str, argv: Sequence[str]) -> int:
    """curl's exit code, or wget's."""
    if name == "wget":
        return _wget(name, argv)
    given = options(name, argv, _KNOWN, _USAGE)
    ends.use(given)
    urls = given.urls + given.rest
    if not urls:
        wrong(name, "a URL is needed", _USAGE)
    code = 0
    for url in urls:
        transfer = None
        try:
            transfer = _Transfer(url, given)
            transfer.go()
        except Wrong as error:
            wrong(name, error, _USAGE)
        except _Failed as error:
            code = error.code
            if not given.silent or given.show_error:
                sys.stdout.flush()
                sys.stderr.write(f"{name}: ({code}) {error}\n")
        if given.write_out and transfer is not None:
            sys.stdout.write(transfer.written_out(given.write_out))
            sys.stdout.flush()
    return code


class _Transfer:
    """One URL and what came of it."""

    def __init__(self, url: str, given: Options) -> None:
        self._given = given
        self._deadline = time.monotonic() + given.seconds("max_time", 0.0) if given.max_time else 0.0
        self._began = time.monotonic()
        self._connected = self._began
        self._first = self._began
        self.url = url if "://" in url else f"http://{url}"
        self.code = 0
        self.received = 0
        self.sent = 0
        self.redirects = 0
        self._file: BinaryIO | None = None

    def go(self) -> None:
        """Fetch it, redirections too when that was asked for. Raises _Failed."""
        given = self._given
        body, method, headers = self._request()
        while True:
            connection, path = self._connect()
            try:
                response = self._ask(connection, method, path, body, headers)
                target = response.getheader("Location")
                follow = bool(given.location and target and 300 <= response.status < 400)
                self._receive(response, method, follow)
            finally:
                connection.close()
            if not follow:
                if self._file is not None and self._file is not sys.stdout.buffer:
                    self._file.close()
                return
            self.redirects += 1
            if self.redirects > 50:
                raise _Failed(_REDIRECTS, "Maximum (50) redirects followed")
            from urllib.parse import urljoin

            self.url = urljoin(self.url, str(target))
            if response.status in (301, 302, 303) and method == "POST":
                body, method = None, "GET"

    def _request(self) -> tuple[bytes | None, str, dict[str, str]]:
        given = self._given
        body: bytes | None = None
        if given.data:
            body = b"&".join(_content(one) for one in given.data)
        if given.upload:
            body = _content(f"@{given.upload}")
        usual = "HEAD" if given.head else "PUT" if given.upload else "POST" if body is not None else "GET"
        method = given.request or usual
        headers = {"User-Agent": given.agent or "curl/8 (tcplab)", "Accept": "*/*"}
        if body is not None and not given.upload:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        for line in given.header:
            key, colon, value = line.partition(":")
            if not colon:
                raise Wrong(f"header {line!r} is none; write it like 'Name: value'")
            headers = {known: one for known, one in headers.items() if known.lower() != key.lower()}
            if value.strip():
                headers[key] = value.strip()
        return body, method, headers

    def _left(self) -> float | None:
        if not self._deadline:
            return None
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise self._timeout()
        return left

    def _timeout(self) -> _Failed:
        elapsed = round((time.monotonic() - self._began) * 1000)
        return _Failed(
            _TIMEOUT, f"Operation timed out after {elapsed} milliseconds with {self.received} bytes received"
        )

    def _connect(self) -> tuple[http.client.HTTPConnection, str]:
        import http.client
        import socket
        from urllib.parse import urlsplit

        try:
            parts = urlsplit(self.url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise _Failed(_BAD_URL, "URL using bad/illegal format or missing URL") from None
        if parts.scheme not in ("http", "https"):
            raise _Failed(1, f'Protocol "{parts.scheme}" not supported: here it is http and https')
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        wait = min(
            (one for one in (self._left(), self._given.seconds("connect_timeout", 0.0) or None) if one is not None),
            default=None,
        )
        # http.client takes what follows the last colon for a port, when it is told none.
        port = port or (443 if parts.scheme == "https" else 80)
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            connection = http.client.HTTPSConnection(host, port, timeout=wait, context=self._tls())
        else:
            connection = http.client.HTTPConnection(host, port, timeout=wait)
        try:
            if self._given.verbose:
                address = ends.to(host, port)[1][0]
                self._tell(f"*   Trying {f'[{address}]' if ':' in address else address}:{port}...")
            connection.connect()
        except socket.gaierror as error:
            raise _Failed(_NO_HOST, f"Could not resolve host: {host} ({words(error)})") from None
        except TimeoutError:
            raise self._timeout() from None
        except OSError as error:
            if type(error).__module__ == "ssl":
                raise _Failed(_TLS, f"SSL certificate problem: {words(error)}") from None
            elapsed = round((time.monotonic() - self._began) * 1000)
            raise _Failed(
                _NO_CONNECTION, f"Failed to connect to {host} port {port} after {elapsed} ms: {words(error)}"
            ) from None
        self._connected = time.monotonic()
        if self._given.verbose:
            peer = connection.sock.getpeername()
            self._tell(f"* Connected to {host} ({peer[0]}) port {peer[1]}")
        connection.sock.settimeout(self._left())
        return connection, path

    def _tls(self) -> Any:
        import ssl

        context = ssl.create_default_context(cafile=self._given.cacert)
        if self._given.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def _ask(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: bytes | None,
        headers: dict[str, str],
    ) -> http.client.HTTPResponse:
        import http.client

        if self._given.http10:
            connection._http_vsn, connection._http_vsn_str = 10, "HTTP/1.0"  # type: ignore[attr-defined]
        try:
            if self._given.verbose:
                self._tell(f"> {method} {path} HTTP/1.1")
                for key, value in {"Host": connection.host, **headers}.items():
                    self._tell(f"> {key}: {value}")
                self._tell(">")
            connection.request(method, path, body, headers)
            self.sent += len(body or b"")
            response = connection.getresponse()
        except http.client.RemoteDisconnected:
            raise _Failed(_EMPTY, "Empty reply from server") from None
        except TimeoutError:
            raise self._timeout() from None
        except (OSError, http.client.HTTPException) as error:
            text = words(error) if isinstance(error, OSError) else f"no HTTP answer: {error}"
            raise _Failed(_RECEIVE, f"Recv failure: {text}") from None
        self._first = time.monotonic()
        self.code = response.status
        return response

    def _receive(self, response: http.client.HTTPResponse, method: str, skip: bool) -> None:
        import http.client

        given = self._given
        version = "1.0" if response.version == 10 else "1.1"
        head = [f"HTTP/{version} {response.status} {response.reason}", *(f"{k}: {v}" for k, v in response.getheaders())]
        if given.verbose:
            for line in (*head, ""):
                self._tell(f"< {line}".rstrip())
        if given.fail and response.status >= 400:
            raise _Failed(_HTTP_ERROR, f"The requested URL returned error: {response.status}")
        file = self._output()
        if given.include or given.head:
            file.write("".join(f"{line}\r\n" for line in (*head, "")).encode())
        try:
            while method != "HEAD" and (data := response.read1(_PIECE)):
                self.received += len(data)
                if not skip:
                    file.write(data)
                    if given.no_buffer:
                        file.flush()
            expected = response.getheader("Content-Length")
            if method != "HEAD" and response.length:
                raise _Failed(_PARTIAL, f"transfer closed with {response.length} bytes remaining to read of {expected}")
        except http.client.IncompleteRead:
            raise _Failed(_PARTIAL, "transfer closed with outstanding read data remaining") from None
        except TimeoutError:
            raise self._timeout() from None
        except OSError as error:
            raise _Failed(_RECEIVE, f"Recv failure: {words(error)}") from None
        file.flush()
        if not given.silent and (given.output or given.remote_name):
            elapsed = max(time.monotonic() - self._began, 1e-6)
            self._tell(f"{self.received} bytes received in {elapsed:.3f} s, {round(self.received / elapsed)} bytes/s")

    def _output(self) -> BinaryIO:
        if self._file is None:
            name = self._given.output
            if self._given.remote_name:
                name = self.url.split("?")[0].rstrip("/").rpartition("/")[2]
                if "://" in self.url and self.url.count("/") < 3:
                    raise _Failed(_WRITE, "Remote file name has no length")
            try:
                self._file = open(name, "wb") if name and name != "-" else sys.stdout.buffer  # noqa: SIM115
            except OSError as error:
                raise _Failed(_WRITE, f"Failed to open the file {name}: {words(error)}") from None
        return self._file

    def written_out(self, form: str) -> str:
        """What -w asks for."""
        total = time.monotonic() - self._began
        values = {
            "http_code": f"{self.code:03}",
            "response_code": f"{self.code:03}",
            "size_download": str(self.received),
            "size_upload": str(self.sent),
            "speed_download": str(round(self.received / max(total, 1e-6))),
            "time_connect": f"{self._connected - self._began:.6f}",
            "time_starttransfer": f"{self._first - self._began:.6f}",
            "time_total": f"{total:.6f}",
            "num_redirects": str(self.redirects),
            "url_effective": self.url,
        }
        for name, value in values.items():
            form = form.replace(f"%{{{name}}}", value)
        return form.replace("\\n", "\n").replace("\\t", "\t").replace("%%", "%")

    def _tell(self, line: str) -> None:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


def _content(data: str) -> bytes:
    if not data.startswith("@"):
        return data.encode()
    try:
        if data == "@-":
            return sys.stdin.buffer.read()
        with open(data[1:], "rb") as file:
            return file.read()
    except OSError as error:
        raise _Failed(26, f"Failed to open {data[1:]}: {words(error)}") from None


def _wget(name: str, argv: Sequence[str]) -> int:
    """0, 4 for the network, 8 for the server's answer."""
    dashed = ["--no-verbose" if one == "-nv" else one for one in argv]
    given = options(name, dashed, _WGET_KNOWN | {"--no-verbose": "brief"}, _WGET_USAGE)
    if not given.rest:
        wrong(name, "a URL is needed", _WGET_USAGE)
    ends.use(given)
    quiet = bool(given.quiet)
    for url in given.rest:
        target = url if "://" in url else f"http://{url}/" if "/" not in url else f"http://{url}"
        path = target.split("?")[0].partition("://")[2].partition("/")[2]
        output = given.output or path.rpartition("/")[2] or "index.html"
        arguments = ["-sLf", "-o", output, *(["-k"] if given.insecure else []), target]
        arguments += [word for one in given.header for word in ("-H", one)]
        arguments += ["-m", given.max_time] if given.max_time else []
        transfer = _Transfer(target, options(name, arguments, _KNOWN, _WGET_USAGE))
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        if not quiet:
            sys.stderr.write(f"--{stamp}--  {target}\n")
        try:
            transfer.go()
        except Wrong as error:
            wrong(name, error, _WGET_USAGE)
        except _Failed as error:
            if error.code == _HTTP_ERROR:
                if not quiet:
                    sys.stderr.write(f"{stamp} ERROR {transfer.code}.\n")
                return 8
            fail(name, str(error), 4)
        if not quiet:
            shown = "STDOUT" if output == "-" else output
            sys.stderr.write(f"HTTP request sent, awaiting response... {transfer.code}\nSaving to: '{shown}'\n")
            if output == "-":
                sys.stdout.flush()
            seconds = max(time.monotonic() - transfer._began, 1e-6)
            speed = transfer.received / seconds / 1e6
            sys.stderr.write(f"\n{stamp} ({speed:.2f} MB/s) - '{shown}' saved [{transfer.received}]{os.linesep}")
    return 0
