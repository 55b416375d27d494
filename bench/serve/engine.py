"""One run's model, ready to answer: tuned or as it was before, in the way that its record was made.

Template, cut of long prompts, decoding and computing type are the record's. With an adapter both sides are
one loaded model, the adapter on or off; a fully tuned model's base is loaded beside it when it is first
asked for. Runs of one base share its weights: `Engine.beside` adds another adapter to a model that is
loaded already.

An engine answers one batch at a time; whoever shares it between threads does so through `bench.serve.queue`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from queue import SimpleQueue
from typing import Literal, Self

import torch

from bench.run import reload
from bench.run.answers.generate import Completion, computing_in
from bench.serve.agreement import agreement
from bench.serve.decode import Ask, Reply, decode
from bench.serve.origin import Origin, origin
from bench.store.ledger import Stored
from bench.train.load import Loaded, load
from bench.train.numerics import precision

Side = Literal["tuned", "base"]
SIDES: tuple[Side, ...] = ("tuned", "base")


class Engine:
    """A run's tuned and untuned answers."""

    def __init__(self, stored: Stored, place: Origin, tuned: Loaded, adapter: str = "default") -> None:
        self.stored = stored
        self.place = place
        self.run = place.run
        self._tuned = tuned
        self._base: Loaded | None = None
        self.adapter = adapter
        self._held = ExitStack()

    @classmethod
    def load(cls, stored: Stored, base: Path | None = None, threads: int | None = None) -> Self:
        """Load a record's weights; `base` says where a local checkpoint lies.

        `threads` is the record's own where answers must come out to the last digit. Raises
        `RequestError` where weights or checkpoint cannot be had, `RecordError` where they do not fit.
        """
        place = origin(stored, base)
        if place.run.backend == "unsloth":
            import unsloth  # noqa: F401  (before the libraries that it patches)
        if threads:
            torch.set_num_threads(threads)
        engine = cls(stored, place, reload.tuned(place.run, place.checkpoint, place.weights))
        engine._settle(engine._tuned)
        return engine

    def beside(self, stored: Stored, base: Path | None = None) -> Engine:
        """Another run's engine; over the same loaded base where both were tuned from it, alike."""
        place = origin(stored, base)
        if not self._tuned.adapter or place.shared != self.place.shared:
            return Engine.load(stored, base)
        from peft import LoraConfig

        recipe = place.run.recipe
        name = stored.record.id
        config = self._tuned.model.peft_config["default"].to_dict()
        changes = {
            "r": recipe.rank,
            "lora_alpha": recipe.alpha,
            "lora_dropout": recipe.dropout,
            "target_modules": recipe.targets,
        }
        self._tuned.model.add_adapter(name.replace(".", "_"), LoraConfig(**{**config, **changes}))
        reload.put_adapter(self._tuned, place.weights, name.replace(".", "_"))
        engine = Engine(stored, place, self._tuned, name.replace(".", "_"))
        engine._settle(self._tuned)
        return engine

    @property
    def id(self) -> str:
        """The record's id."""
        return self.stored.record.id

    def prompt(self, question: str, context: str = "", new_tokens: int | None = None) -> list[int]:
        """The tokens that an answer starts from; a long context is cut as the run cut it."""
        run = self.run
        if new_tokens is not None:
            decoding = run.contract.decoding.model_copy(update={"max_new_tokens": new_tokens})
            run = run.model_copy(update={"contract": run.contract.model_copy(update={"decoding": decoding})})
        return reload.prompts(run, self._tuned, [(question, context)], self.run.template)[0]

    def raw_prompt(self, text: str) -> list[int]:
        """The tokens of a text that no template is laid around."""
        ids = list(self._tuned.tokenizer(text)["input_ids"])
        ends = self.run.model.objective == "causal" and ids[-1:] == [self._tuned.tokenizer.eos_token_id]
        return ids[:-1] if ends else ids

    def answer(
        self,
        questions: Sequence[tuple[str, str]],
        side: Side = "tuned",
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> list[Completion]:
        """Completions of pairs of question and context, in the batches that the run was scored in."""
        with self.on(side) as loaded:
            prompts = reload.prompts(self.run, loaded, questions, self.run.template)
            return reload.answers(self.run, loaded, prompts, progress)

    def agreement(
        self, questions: Sequence[tuple[str, str]], recorded: Sequence[str], side: Side = "tuned"
    ) -> float:
        """The share of recorded answers' tokens that are this side's first choice."""
        with self.on(side) as loaded:
            prompts = reload.prompts(self.run, loaded, questions, self.run.template)
            return agreement(loaded.model, loaded.tokenizer, prompts, recorded, self.run.model.objective)

    def decode(self, asks: Sequence[Ask], side: Side = "tuned") -> list[Reply]:
        """Answers of one batch, each streamed, stopped and given up for itself."""
        with self.on(side) as loaded:
            return decode(loaded, asks, self.run.model.objective)

    def stream(
        self, question: str, context: str = "", side: Side = "tuned", stops: Sequence[str] = ()
    ) -> Iterator[str]:
        """The answer in pieces as they are written; decoding ends when the iterator is closed."""
        pieces: SimpleQueue[str | BaseException | None] = SimpleQueue()
        gone = threading.Event()
        limit = self.run.contract.decoding.max_new_tokens
        ask = Ask(self.prompt(question, context), limit, tuple(stops), hear=pieces.put, cancelled=gone.is_set)

        def work() -> None:
            try:
                self.decode([ask], side)
            except BaseException as error:
                pieces.put(error)
            pieces.put(None)

        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        try:
            while (piece := pieces.get()) is not None:
                if isinstance(piece, BaseException):
                    raise piece
                yield piece
        finally:
            gone.set()
            worker.join()

    def close(self) -> None:
        """Give the weights their own types back."""
        self._held.close()

    @contextmanager
    def on(self, side: Side) -> Iterator[Loaded]:
        """The model with this run's adapter on, or as it was before tuning."""
        if not self._tuned.adapter:
            yield self._tuned if side == "tuned" else self._untuned()
            return
        model = self._tuned.model
        off: AbstractContextManager[None] = model.disable_adapter() if side == "base" else nullcontext()
        if side == "tuned":
            model.set_adapter(self.adapter)
        with off:
            yield self._tuned

    def _untuned(self) -> Loaded:
        if self._base is None:
            self._base = load(self.run, self.place.checkpoint)
            self._settle(self._base)
        return self._base

    def _settle(self, loaded: Loaded) -> None:
        """Hold the weights in evaluation mode and in the type that the run answered in."""
        loaded.model.eval()
        if self.run.backend == "unsloth":
            from unsloth import FastLanguageModel

            FastLanguageModel.for_inference(loaded.model)
        else:
            self._held.enter_context(computing_in(loaded.model, precision(self.run)))
