"""The bodies of requests and answers; FastAPI makes the published schema from them.

What OpenAI's clients send and this server has no use for is passed over, except where passing it over
would change what an answer means: `n` above 1 and `logprobs` are refused.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

#: Characters of a question, of a prompt and of one stop text.
LONGEST, LONGEST_STOP = 100_000, 100
MOST_STOPS, MOST_PROMPTS = 4, 32
#: The largest whole number that every reader of JSON has exactly.
SEEDS = 2**53


def _speakable(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("holds half a character (a lone surrogate)") from None
    return text


def _whole(value: object) -> object:
    """1.0 is a whole number in JSON."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


#: Limits stand before it, or the published schema would not have them.
Whole = BeforeValidator(_whole)
Text = Annotated[str, AfterValidator(_speakable)]
Asked = Annotated[Text, Field(min_length=1, max_length=LONGEST)]
Stop = Annotated[Text, Field(min_length=1, max_length=LONGEST_STOP)]


class _Sent(BaseModel):
    """What a client sends: "1" is no number and 1 is no truth value."""

    model_config = ConfigDict(strict=True)


class Question(_Sent):
    """A plain question."""

    question: Asked = Field(examples=["what is linear regression?"])
    context: Annotated[Text, Field(max_length=LONGEST)] = ""


class PlainAnswer(BaseModel):
    """A plain answer."""

    answer: str


class StreamOptions(_Sent):
    """What a stream carries beside its pieces."""

    include_usage: bool | None = None


class Sampling(_Sent):
    """What all of OpenAI's requests share."""

    model: Asked = Field(description="a run's id, a model's name, or either with ':base' for it untuned")
    max_tokens: Annotated[int, Field(ge=1, le=2**31), Whole] | None = Field(
        None, description="new tokens; at most what the run's maximum length leaves, and its limit if absent"
    )
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(None, description="absent or 0: greedy")
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-SEEDS, le=SEEDS), Whole] | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=MOST_STOPS)] | None = Field(
        None, description="absent: the stop rule of the run's template; an empty list: none"
    )
    n: Annotated[int, Field(ge=1, le=1), Whole] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None


class TextPart(_Sent):
    """A piece of a message."""

    type: Literal["text"]
    text: Annotated[Text, Field(max_length=LONGEST)]


class Message(_Sent):
    """One turn of a chat."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[Text, Field(max_length=LONGEST)] | Annotated[list[TextPart], Field(max_length=100)]

    @property
    def text(self) -> str:
        """The turn as one text."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class ChatRequest(Sampling):
    """A chat: its last user message is the question, its last system message the context.

    Earlier turns are not read: the run was tuned on single questions.
    """

    messages: Annotated[list[Message], Field(min_length=1, max_length=1000)]
    max_completion_tokens: Annotated[int, Field(ge=1, le=2**31), Whole] | None = None
    logprobs: Literal[False] | None = None


class CompletionRequest(Sampling):
    """A raw prompt that is gone on with; no template is laid around it."""

    prompt: Asked | Annotated[list[Asked], Field(min_length=1, max_length=MOST_PROMPTS)]
    echo: Literal[False] | None = None
    logprobs: None = None


class Usage(BaseModel):
    """Tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatMessage(BaseModel):
    """What the model says."""

    role: Literal["assistant"] = "assistant"
    content: str


class ChatChoice(BaseModel):
    """An answer."""

    index: int = 0
    message: ChatMessage
    finish_reason: Literal["stop", "length"]
    logprobs: None = None


class ChatCompletion(BaseModel):
    """The answer to a chat."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage


class Choice(BaseModel):
    """What follows a prompt."""

    index: int
    text: str
    finish_reason: Literal["stop", "length"]
    logprobs: None = None


class Completions(BaseModel):
    """What follows the prompts."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


class ModelEntry(BaseModel):
    """A run, tuned or untuned."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["bench"] = "bench"


class ModelList(BaseModel):
    """What is served."""

    object: Literal["list"] = "list"
    data: list[ModelEntry]


class OpenAIError(BaseModel):
    """The member by which OpenAI's clients know an error."""

    message: str
    type: str
    param: None
    code: None


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    error: OpenAIError
