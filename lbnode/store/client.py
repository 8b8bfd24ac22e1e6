"""kazoo, as the ZooKeeper store uses it: the client's settings, order among its threads, its errors in our
words.
"""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import (
    BadVersionError,
    KazooException,
    NoAuthError,
    NodeExistsError,
    NoNodeError,
)
from kazoo.handlers.threading import SequentialThreadingHandler
from kazoo.retry import KazooRetry

from lbnode.store.access import Access
from lbnode.store.tree import LEADER, ConflictError, ExistsError, MissingError, StoreError, UnavailableError

RETRY_DELAY_S = 0.1
RETRY_MAX_DELAY_S = 1.0
ANSWER_S = 2.0
"""What a server may take to answer somebody who connects: there is time for another try within a session."""


@dataclass(frozen=True, slots=True)
class Transport:
    """TLS to the servers: PEM files with this process's certificate, its key, and the authorities it believes."""

    certificate: Path
    key: Path
    ca: Path

    def context(self) -> ssl.SSLContext:
        """Return how to connect now: the server must be one of `ca`'s, under the name by which it is asked."""
        context = ssl.create_default_context(cafile=self.ca)
        context.load_cert_chain(self.certificate, self.key)
        return context


class OrderedHandler(SequentialThreadingHandler):  # type: ignore[misc]
    """kazoo's threads, with watch events and answers in one queue: both arrive in the server's order.

    kazoo keeps them apart because its users' watch callbacks may block. Ours only hand over to the event
    loop.
    """

    def __init__(self, transport: Transport | None) -> None:
        super().__init__()
        self._transport = transport

    def create_connection(self, *arguments: Any, **options: Any) -> Any:
        """Open a TCP connection; with TLS believe in nobody but the authority that was named.

        kazoo would believe in the machine's authorities too. Files are read for each connection anew.
        """
        if self._transport is None:
            return super().create_connection(*arguments, **options)
        connection = socket.create_connection(options["address"], options["timeout"])
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return self._transport.context().wrap_socket(connection, server_hostname=options["hostname"])
        except BaseException:
            connection.close()
            raise

    def dispatch_callback(self, callback: Any) -> None:
        self.completion_queue.put(lambda: callback.func(*callback.args))


class ImpatientHandler(OrderedHandler):
    """Gives up a server that says nothing for `answer_s` while a client connects, so that the session can be kept.

    kazoo would wait for as long as the session lasts without contact. Servers that are off say nothing; nor does
    ZooKeeper, now and then, to those that come while it starts: 5 of 25 restarts cost one of 20 clients its session.
    """

    def __init__(self, transport: Transport | None, answer_s: float) -> None:
        super().__init__(transport)
        self._answer_s = answer_s
        self.is_connected: Callable[[], bool] = lambda: False

    def create_connection(self, *arguments: Any, **options: Any) -> Any:
        """Open a connection, as the class before does, or say in time that it cannot be."""
        options["timeout"] = min(options["timeout"], self._answer_s)
        return super().create_connection(*arguments, **options)

    def select(self, *arguments: Any) -> Any:
        """Wait as `select.select` does, for not so long before there is a session."""
        *sockets, timeout = arguments
        return super().select(*sockets, timeout if self.is_connected() else min(timeout, self._answer_s))


class LastWord(logging.Handler):
    """Keeps the last thing that kazoo complained about: the reason in our own message."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.text = "no answer yet"

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if not text.startswith("Transition"):  # said after the reason, and no reason itself
            self.text = text


def make_client(
    hosts: str,
    session_timeout_s: float,
    last_word: LastWord,
    access: Access | None,
    transport: Transport | None,
) -> KazooClient:
    """Return a client that tries for ever to connect, and for ever to do what the election asks of it."""
    logger = logging.Logger(
        "kazoo", logging.WARNING
    )  # kazoo's complaints go into our own messages, not beside them
    logger.addHandler(last_word)
    handler = ImpatientHandler(transport, ANSWER_S)
    patience = {"max_tries": -1, "delay": RETRY_DELAY_S, "max_delay": RETRY_MAX_DELAY_S}
    client = KazooClient(
        hosts=hosts,
        timeout=session_timeout_s,
        handler=handler,
        connection_retry=KazooRetry(sleep_func=handler.sleep_func, **patience),
        command_retry=KazooRetry(sleep_func=handler.sleep_func, **patience),
        logger=logger,
        auth_data=None if access is None else [access.credentials],
        default_acl=None if access is None else access.acl(LEADER),
    )
    handler.is_connected = lambda: client.connected
    return client


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Raise kazoo's errors as the port's; `where` begins their messages."""
    try:
        yield
    except NodeExistsError as error:
        raise ExistsError(f"{where}: exists") from error
    except NoNodeError as error:
        raise MissingError(f"{where}: no such record") from error
    except BadVersionError as error:
        raise ConflictError(f"{where}: somebody else changed it: read it again") from error
    except NoAuthError as error:
        raise StoreError(f"{where}: not allowed: check store.secret_file and the ACL") from error
    except TimeoutError as error:
        raise UnavailableError(f"{where}: no answer in time: whether it was done is not known") from error
    except KazooException as error:
        raise UnavailableError(
            f"{where}: {type(error).__name__}: whether it was done is not known"
        ) from error
