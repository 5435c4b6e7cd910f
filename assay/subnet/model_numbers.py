"""`[model]` of a recipe: the sizes of a model, by the names that its config.json gives them."""

from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from assay.inference.families import FAMILIES, count_products, count_tensors, find_config_fault
from assay.inference.placing.model_sizes import ModelShape, list_windows, measure_shape
from assay.inference.plain_config import PLAIN_SIZES, find_plain_fault

Size = Annotated[int, Field(ge=1, le=1 << 20)]
Layers = Annotated[int, Field(ge=1, le=1_024)]
if TYPE_CHECKING:
    ModelType = str
else:
    ModelType = Literal[tuple(FAMILIES)]


class RecipePart(BaseModel):
    """A section of a recipe's file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelNumbers(RecipePart):
    """`[model]`: the sizes in a config.json, by the names that they have there."""

    name: str = Field(min_length=1, max_length=200)  # source of its folder
    model_type: ModelType
    vocab_size: Size
    hidden_size: Size
    intermediate_size: Size
    num_hidden_layers: Layers
    num_attention_heads: Annotated[int, Field(ge=1, le=1_024)]
    num_key_value_heads: Annotated[int, Field(ge=1, le=1_024)]
    head_dim: Annotated[int, Field(ge=1, le=4_096)] | None = None
    tie_word_embeddings: bool
    #: its other fields that tensors, windows or the longest context depend on
    config: dict[str, Any] = {}

    @property
    def packs(self) -> bool:
        """Whether a prompt is read once for all rollouts of its group."""
        return True

    @property
    def whole(self) -> dict[str, Any]:
        """config.json, as far as it is stated here."""
        sizes = self.model_dump(exclude={"name", "config"}, exclude_none=True)
        return {**sizes, **self.config}

    @property
    def head(self) -> int:
        """Width of one head."""
        return self.head_dim or self.hidden_size // self.num_attention_heads

    @property
    def products(self) -> int:
        """Weights that each token is multiplied by: all matrices but tables of embeddings, and of
        experts those that it takes."""
        return count_products(self.whole)

    @property
    def read(self) -> int:
        """Weights that a step reads that decodes many rows: of experts all of them."""
        return count_products(self.whole, of_all_experts=True)

    @property
    def parameters(self) -> int:
        """The number of all weights."""
        _, elements = count_tensors(self.whole)
        table = self.vocab_size * self.hidden_size if self.tie_word_embeddings else 0
        return elements - table

    @property
    def shape(self) -> ModelShape:
        """The size of the model."""
        return measure_shape(SimpleNamespace(**self.whole), self.parameters)

    def count_seen(self, context: float) -> float:
        """The tokens that a token behind `context` others sees, in all layers together. Recurrent
        layers see none."""
        windows = list_windows(SimpleNamespace(**self.whole))
        return sum(min(context, window or context) for window in windows)

    def find_fault(self) -> str | None:
        """The reason why there is no such model, after the section's name; None: no reason."""
        return self._find_odd_heads() or self._find_odd_config()

    def _find_odd_heads(self) -> str | None:
        heads, shared = self.num_attention_heads, self.num_key_value_heads
        if self.head_dim is None and self.hidden_size % heads:
            return f"num_attention_heads: {heads} do not divide a hidden_size of {self.hidden_size}"
        if heads % shared:
            return f"num_key_value_heads: {shared} do not divide {heads} num_attention_heads"
        if self.head % 2:
            return f"head_dim: {self.head} is odd: positions turn pairs of its numbers"
        return None

    def _find_odd_config(self) -> str | None:
        twice = sorted(set(self.config) & set(type(self).model_fields))
        if twice:
            return f"config.{twice[0]} belongs under [model]"
        fault = find_config_fault(self.whole)
        return None if fault is None else f"config: {fault}"


class PlainNumbers(ModelNumbers):
    """`[model]` of a type that no family describes, which its own class reads: chosen by `weights`.

    What its layers are is not known here. So all of them are taken to attend to all tokens, with
    heads as wide as the states: bounds, which `assay plan` names.
    """

    model_type: Annotated[str, Field(min_length=1, max_length=64)]
    #: all weights, each once
    weights: Annotated[int, Field(ge=1, le=1 << 50)]
    intermediate_size: Size = 1
    num_attention_heads: Annotated[int, Field(ge=1, le=1_024)] = 1
    num_key_value_heads: Annotated[int, Field(ge=1, le=1_024)] = 1

    @property
    def packs(self) -> bool:
        """See `ModelNumbers.packs`: each rollout is read with its prompt."""
        return False

    @property
    def whole(self) -> dict[str, Any]:
        """config.json, as far as it is stated here."""
        sizes = ("model_type", "tie_word_embeddings", *PLAIN_SIZES)
        return {name: getattr(self, name) for name in sizes} | self.config

    @property
    def products(self) -> int:
        """All weights but the table of an embedding that is not the output matrix, too."""
        table = 0 if self.tie_word_embeddings else self.vocab_size * self.hidden_size
        return max(1, self.weights - table)

    @property
    def read(self) -> int:
        return self.products

    @property
    def parameters(self) -> int:
        return self.weights

    def count_seen(self, context: float) -> float:
        """All tokens, in each layer."""
        return self.num_hidden_layers * context

    def find_fault(self) -> str | None:
        """See `ModelNumbers.find_fault`."""
        if self.model_type in FAMILIES:
            return f"weights: {self.model_type} is a family, whose weights follow from its sizes"
        fault = find_plain_fault(self.whole)
        return None if fault is None else f"config: {fault}"
