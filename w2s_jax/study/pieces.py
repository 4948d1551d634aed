"""The pieces of a reply, made fit to be shown and kept, whatever an assistant gives."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

from w2s_jax.study.assistants.base import AssistantGone

PATIENCE = 90.0  # seconds without a piece, after which an assistant counts as gone
LONGEST = 20_000  # characters of a reply: an endpoint may heed no limit


async def checked(pieces: AsyncIterator[str]) -> AsyncGenerator[str, None]:
    """The same pieces, in Unicode, and no more of them than make a reply.

    Raises:
      AssistantGone: it says nothing for long.
    """
    room = LONGEST
    while room > 0:
        try:
            async with asyncio.timeout(PATIENCE):
                piece = await anext(pieces)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise AssistantGone(f"it has said nothing for {PATIENCE:.0f} s") from error
        yield _unicode(piece[:room])
        room -= len(piece)


def _unicode(text: str) -> str:
    """The text with what is no character replaced: half of a pair, as an endpoint's JSON may hold it."""
    return text.encode("utf-8", "replace").decode()
