"""What a recipe may not hold, and which optimizers it may name: the registry holds spec files against it."""

from __future__ import annotations

#: Optimizers of `transformers.TrainingArguments` that need nothing beyond torch and bitsandbytes.
OPTIMIZERS = (
    *("adamw_torch", "adamw_torch_fused", "adafactor", "sgd", "adagrad", "rmsprop"),
    *("adamw_8bit", "adamw_bnb_8bit", "ademamix", "ademamix_8bit", "lion_8bit", "lion_32bit"),
    *("rmsprop_bnb", "rmsprop_bnb_8bit", "rmsprop_bnb_32bit"),
    *("paged_adamw_8bit", "paged_adamw_32bit", "paged_lion_8bit", "paged_lion_32bit"),
    *("paged_ademamix_8bit", "paged_ademamix_32bit"),
)

#: Keys that users put into a recipe although they are everybody's: they live in the contract.
CONTRACT_KEYS = {
    "epochs": "--budget",
    "num_train_epochs": "--budget",
    "steps": "--budget",
    "max_steps": "--budget",
    "examples": "--budget",
    "batch_size": "--budget (a spec chooses only 'micro_batch')",
    "effective_batch": "--budget",
    "seed": "--seeds",
    "max_length": "--max-length",
    "max_new_tokens": "--max-new-tokens",
    "num_beams": "the contract's decoding (greedy for all)",
}
