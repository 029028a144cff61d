"""Pages of lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol, TypeVar

from nodes.base.errors import InvalidArgument

MAX_PAGE: Final = 1000

T = TypeVar("T")


class PageRequest(Protocol):
    """A List request."""

    @property
    def page_size(self) -> int: ...

    @property
    def page_token(self) -> str: ...


def page(
    items: Iterable[T], request: PageRequest, key: Callable[[T], int] | None = None, maximum: int = MAX_PAGE
) -> tuple[list[T], str]:
    """A page of `items` and the token of the next one ("": it was the last).

    `key` numbers them in their order, so that what goes away meanwhile moves nothing; without it their places do.
    Raises InvalidArgument for a size below 0 and a token that is none.
    """
    after, size = position(request), size_of(request, maximum)
    numbered: Any = enumerate(items, 1) if key is None else ((key(item), item) for item in items)
    left = [(number, item) for number, item in numbered if number > after]
    token = str(left[size - 1][0]) if len(left) > size else ""
    return [item for _, item in left[:size]], token


def size_of(request: PageRequest, maximum: int = MAX_PAGE, default: int = MAX_PAGE) -> int:
    """How many are wanted."""
    if request.page_size < 0:
        raise InvalidArgument(f"page_size: {request.page_size} is not 0 (the default) or more", "page_size")
    return min(request.page_size or default, maximum)


def position(request: PageRequest) -> int:
    """What the page's token says: the number of the last item of the page before."""
    token = request.page_token
    if not token:
        return 0
    if not (token.isascii() and token.isdecimal() and len(token) < 19):
        raise InvalidArgument(f"page_token: {token[:40]!r} is not one that a page gave", "page_token")
    return int(token)
