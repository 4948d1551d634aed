"""Takes part in a study over HTTP, as a participant's page does, for whatever mind asks and answers."""

from typing import TYPE_CHECKING, Any

from w2s_jax.study.guard import HEADER
from w2s_jax.study.participants.base import Answered, Mind, Said, Seen

if TYPE_CHECKING:
    import httpx

WAIT = 20  # seconds for which a request waits for what is new
LATE = 409  # the status of an action that comes too late
STEPS = {"instructions": "begin", "ready": "start", "paused": "resume", "revealed": "next"}


class Client:
    """One participant.

    Args:
      http: of the server's address; it keeps the participant's cookie, so each participant has one.
      link: `/p/TOKEN`.
      mind: what thinks.
      simulated: what is written beside all that it does.
    """

    def __init__(self, http: "httpx.AsyncClient", link: str, mind: Mind, simulated: str) -> None:
        self._http, self._link, self._mind, self._simulated = http, link, mind, simulated

    async def play(self) -> int:
        """Takes part to the end, from wherever the participant is. Returns how many questions it answered."""
        (await self._http.get(self._link)).raise_for_status()
        view, answered = await self._view(), 0
        while view["stage"] not in ("end", "declined"):
            stage = view["stage"]
            if stage == "consent":
                view = await self._act("consent", agree=True, simulated=self._simulated)
            elif stage == "question":
                view = await self._question(view)
                answered += 1
            elif stage in STEPS:
                view = await self._act(STEPS[stage])
            else:
                view = await self._view(view)
        return answered

    async def _question(self, view: dict[str, Any]) -> dict[str, Any]:
        """From a question's opening to its answer, or to the end of its time."""
        position, asks, tried = view["position"], True, False

        def over() -> bool:
            return bool(view["stage"] != "question" or view["position"] != position)

        if view["speakers"] and not view["messages"]:  # a first impression, so that changes of mind can be seen
            view = await self._act("choose", position=position, **_as_json(await self._mind.answer(_seen(view))))
        while not over() and (view["writing"] or (asks and view["may_write"]) or (view["notice"] and not tried)):
            if view["writing"]:
                view = await self._view(view)
            elif view["notice"]:
                tried = True
                view = await self._act("retry", position=position)
            else:
                text = await self._mind.message(_seen(view))
                asks = bool(text.strip())
                view = await self._act("say", position=position, text=text) if asks else view
        if over():
            return view
        return await self._act("answer", position=position, **_as_json(await self._mind.answer(_seen(view))))

    async def _view(self, known: dict[str, Any] | None = None) -> dict[str, Any]:
        """Where the participant is; with a view that is known, as soon as it is another one."""
        query = {} if known is None else {"after": known["version"], "wait": WAIT}
        answer = await self._http.get(f"{self._link}/view", params=query)
        answer.raise_for_status()
        return dict(answer.json())

    async def _act(self, do: str, **more: Any) -> dict[str, Any]:
        """Does something, and returns the view after it; where that came too late, the view that there is."""
        answer = await self._http.post(f"{self._link}/act", json={"do": do, **more}, headers={HEADER: "1"})
        if answer.status_code == LATE:
            return dict(answer.json()["view"])
        answer.raise_for_status()
        return dict(answer.json())


def _seen(view: dict[str, Any]) -> Seen:
    asked = view["question"]
    said = tuple(Said(each["from"], each["mine"], each["text"]) for each in view["messages"])
    return Seen(
        view["condition"]["name"],
        asked["passage"],
        asked["question"],
        tuple(asked["choices"]),
        tuple(view["speakers"]),
        said,
    )


def _as_json(answer: Answered) -> dict[str, Any]:
    return {"choice": answer.choice, "confidence": answer.confidence}
