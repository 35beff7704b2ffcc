"""moto behind HTTP: its own dispatcher, on a socket that the server handed over."""

from __future__ import annotations

import json
import logging
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import BaseWSGIServer, make_server

from lambent.embedded import shims
from lambent.embedded.settings import Settings

_HOST = "unix://embedded"  # only says what kind of socket it is: that is there already
_FAILURE = "x-lambent-failure"  # tells the server that moto itself failed: it words the answer for the client

_OWN = ("moto_api", "instance_metadata")  # moto's own pages: whoever may call a service could reset all of them
_API_CALL = "HTTP_X_LAMBENT_API_CALL"  # the server has seen that the request is for an API that somebody has deployed

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


class _Handler(MotoRequestHandler):  # type: ignore[misc]
    def log(self, type: str, message: str, *arguments: Any) -> None:
        """Requests stand in nobody's log: they may hold secrets."""


def server(listener: int, settings: Settings) -> BaseWSGIServer:
    warnings.simplefilter("ignore")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    shims.install(settings)
    application = _telling_failures(_with_apis(DomainDispatcherApplication(_application_of)))
    return make_server(_HOST, 0, application, threaded=True, request_handler=_Handler, fd=listener)


def _with_apis(application: Application) -> Application:
    """moto's API Gateway is loaded by the first request that may be for one of its APIs."""

    def serve(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if not environ.get(_API_CALL):
            return application(environ, start_response)
        from lambent.embedded import apis

        return apis.in_front_of(application)(environ, start_response)

    return serve


def _application_of(service: Any) -> Any:
    if service is None or service in _OWN:
        raise NotImplementedError("moto does not have the service")
    shims.prepare(service)
    return create_backend_app(service)


def _telling_failures(application: Application) -> Application:
    def call(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        try:
            return application(environ, start_response)
        except NotImplementedError as error:
            return _fail(start_response, "501 Not Implemented", str(error) or "this operation")
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            return _fail(start_response, "500 Internal Server Error", f"{type(error).__name__}: {error}")

    return call


def _fail(start_response: Any, status: str, message: str) -> Iterable[bytes]:
    body = json.dumps({"message": message}).encode()
    start_response(status, [("Content-Type", "application/json"), (_FAILURE, "1"), ("Content-Length", str(len(body)))])
    return [body]
