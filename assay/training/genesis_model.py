"""The demo's model before any training: a character tokenizer and a small Qwen2.

This module does not know who will run the model, or in which precision: weights are published in
bf16 and every reference forward pass upcasts them to fp32.
"""

from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

PAD, END = 0, 1
#: Id i is the character ALPHABET[i - 2].
ALPHABET = "\n" + "".join(map(chr, range(32, 127)))
_IDS = {character: i for i, character in enumerate(ALPHABET, start=2)}
#: Prompt and completion together; the demo needs far less.
CONTEXT = 512


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token a character: `<pad>` 0, `<end>` 1, newline 2, printable ASCII 3 to 97.

    Text is used as it is: no template, no prefix, no normalisation, so decode(encode(s)) == s.
    The text `<end>` is five characters, not the token. A character outside the alphabet raises when
    it is encoded: prompts never hold one. Load it with PreTrainedTokenizerFast, not AutoTokenizer:
    that one replaces the splitting of any qwen2 folder by its own, and whitespace is lost.
    """
    vocabulary = {"<pad>": PAD, "<end>": END} | _IDS
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    core.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        eos_token="<end>",
        clean_up_tokenization_spaces=False,
        model_max_length=CONTEXT,
        split_special_tokens=True,
    )


def encode(text: str) -> list[int]:
    """The tokenizer's ids of `text`, without its overhead.

    Raises:
        KeyError: a character outside the alphabet.
    """
    return [_IDS[character] for character in text]


def make_model(hidden: int, layers: int, heads: int, inner: int, seed: int) -> Qwen2ForCausalLM:
    """A freshly initialised fp32 model; the same arguments give the same weights.

    The output matrix is its own tensor: every tensor of the file is then one parameter.
    """
    config = Qwen2Config(
        vocab_size=len(ALPHABET) + 2,
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=False,
        pad_token_id=PAD,
        eos_token_id=END,
        bos_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2ForCausalLM(config)
    return model.to(torch.float32)  # type: ignore[arg-type]


def save_model(model: Qwen2ForCausalLM, folder: Path) -> None:
    """Write config.json, model.safetensors (bf16), tokenizer.json and tokenizer_config.json.

    Weights are rounded to nearest even; the model in memory stays fp32 and unrounded.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    published = Qwen2ForCausalLM(model.config).to(torch.bfloat16)  # type: ignore[arg-type]
    published.load_state_dict(
        {name: weight.to(torch.bfloat16) for name, weight in model.state_dict().items()}
    )
    published.save_pretrained(folder)
    # Generation settings belong to the manifest: a second copy would be a second truth.
    (folder / "generation_config.json").unlink(missing_ok=True)
    (folder / "model.safetensors").chmod(0o644)  # the library makes it readable for its owner alone
    make_tokenizer().save_pretrained(folder)
