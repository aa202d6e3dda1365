"""How we reach a server, and what a failed call means: the one place where gRPC's errors become ours."""

from __future__ import annotations

import json

import grpc
from google.protobuf.message import DecodeError

from sightline.errors import DeadlineExceeded, InvalidArgument, SightlineError, Unavailable, error_for
from sightline.internal.v1 import splice_pb2
from sightline.security import Tls
from sightline.v1 import common_pb2

MAX_MESSAGE = 64 * 1024 * 1024
"""Bytes of one message, in and out; the servers' own limit."""

ERROR_TYPE = "type.googleapis.com/sightline.v1.Error"

RETRY_BUDGET = 500
"""Calls that may be made again while a service is down; two that succeed give one of them back.

As many as gRPC allows (gRFC A6): when one of two gateways falls silent, all that it was asked in the four seconds until
that is noticed is asked again of the other, and that is two calls for each that is made in a second.
"""

_SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 3,
                "initialBackoff": "0.02s",
                "maxBackoff": "0.5s",
                "backoffMultiplier": 3,
                # A server that stops cancels what reaches it at the very last moment: UNAVAILABLE by another name.
                "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
            },
        }
    ],
    # Each failure takes a token, and half of them must be left: retries must not make an outage worse.
    "retryThrottling": {"maxTokens": 2 * RETRY_BUDGET, "tokenRatio": 0.5},
}

_OPTIONS = [
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    # A server that hangs is seen only by pings that it owes an answer: after 2 + 2 seconds. Whoever forbids such pings
    # says so (ENHANCE_YOUR_CALM), and gRPC doubles the interval.
    ("grpc.keepalive_time_ms", 2_000),
    ("grpc.http2.ping_timeout_ms", 2_000),
    ("grpc.http2.max_pings_without_data", 0),
    # How long a connection may take to be made, too: 20 seconds by default, all of which a server that hangs uses up.
    ("grpc.min_reconnect_backoff_ms", 1_500),
    ("grpc.dns_min_time_between_resolutions_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
]


def check_address(address: str) -> str:
    """Returns the gRPC target that an address stands for.

    Raises:
        InvalidArgument: it is neither ``host:port`` nor a gRPC target (BAD_ADDRESS).
    """
    if address.startswith(("dns:", "unix:", "ipv4:", "ipv6:", "xds:")):
        return address
    scheme, separator, rest = address.partition("://")
    host, _, port = address.rpartition(":")
    wrong = ""
    if separator:
        wrong = f", without {scheme}://; try {rest.rstrip('/')}"
    elif not host or (":" in host and not host.startswith("[")):
        wrong = " (an IPv6 address in brackets)" if address.count(":") > 1 else ""
    elif port.isascii() and port.isdecimal() and 1 <= int(port) <= 65_535:
        return f"dns:///{address}"
    elif port.isascii() and port.isdecimal():
        wrong = ", the port from 1 to 65535"
    message = f"an address is host:port{wrong}, got {address!r}"
    raise InvalidArgument(message, reason="BAD_ADDRESS", field="address")


def open_channel(address: str, tls: Tls | grpc.ChannelCredentials | None) -> grpc.aio.Channel:
    """Opens a channel; it connects when it is first used.

    Raises:
        InvalidArgument: `address` is neither ``host:port`` nor a gRPC target, or a file of `tls` cannot be read.
    """
    target = check_address(address)
    if isinstance(tls, Tls):
        named = [("grpc.ssl_target_name_override", tls.server_name)] if tls.server_name else []
        return grpc.aio.secure_channel(target, tls.credentials(), options=[*_OPTIONS, *named])
    if tls:
        return grpc.aio.secure_channel(target, tls, options=_OPTIONS)
    return grpc.aio.insecure_channel(target, options=_OPTIONS)


def error_of(call: grpc.aio.AioRpcError, address: str) -> SightlineError:
    """Returns the error that a failed call stands for: the one that the server sent, or what its status says."""
    if sent := sent_error(call):
        return sent
    code, details = call.code(), call.details() or "no details"
    if code is grpc.StatusCode.UNAVAILABLE:
        return Unavailable(f"{address} does not answer: {details}")
    if code is grpc.StatusCode.CANCELLED:
        # By the server, or by a channel closed under the call: a caller who cancels sees CancelledError.
        return Unavailable(f"{address} ended the call: {details}", reason="CALL_ENDED")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceeded(f"{address} gave no answer in time")
    return error_for(code.value[0], details, reason=code.name)


def sent_error(call: grpc.aio.AioRpcError) -> SightlineError | None:
    """Returns the error that the server sent with a failed call; None where it sent none of ours."""
    for key, value in call.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes) and (sent := _read(value)):
            return sent
    return None


def _read(status: bytes) -> SightlineError | None:
    try:
        for detail in splice_pb2.RpcStatus.FromString(status).details:
            if detail.type_url == ERROR_TYPE:
                sent = common_pb2.Error.FromString(detail.value)
                return error_for(sent.code, sent.message, reason=sent.reason, field=sent.field)
    except DecodeError:
        pass  # not ours: the status itself has to do
    return None
