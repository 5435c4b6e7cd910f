"""The proof episode of a tool: what every program has it reply to before it mines or judges.

Specification: the environments' page.
"""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from assay.environments.tools.calls import CallFault, CallForm, read_call, write_call
from assay.environments.tools.tool import Tool, describe_tool
from assay.environments.worlds.world import ODD_TURNS
from assay.protocol.hashing import Domain, hash_fields

LINE, HERMES, LLAMA, XML, MISTRAL = CallForm
#: The digest of each tool's proof episode, in hex, by name and form of calls; of `search` it is
#: another for each file.
PROOFS: Mapping[tuple[str, CallForm], str] = MappingProxyType(
    {
        ("calculator", LINE): "e9af07b2d3c9b8d2f0bd9afc28a7f2f4d6fdcddca392b8521f24a16d095802eb",
        ("calculator", HERMES): "a5154a8865b864a5b8e4c5147fc2bf467de79107aff751d95d259a336a15bc20",
        ("calculator", LLAMA): "6b2bad45e8c0233d1a315ca93ce0251aef463f4b49c7d071f54ba36f354c39c2",
        ("calculator", XML): "b23d105fb20193a826376e8fe312747cb0d0603847ddddf8ff9c8e0444239d72",
        ("calculator", MISTRAL): "af24f4564e555d7a828883a917644a0fecd95007cbd50f06ba80d149e289f6bf",
        ("python", HERMES): "a9ec4cd5b0647ce6d527118f6054a9ee37aa59c33e71a717979d059d750a5da5",
        ("python", LLAMA): "69b8572132529b3817a86f89e753d8e7708d3e8fe83307f03298915d2019d135",
        ("python", XML): "f0b88af7faf8ce011f995d0563f2eb4463b7342755029f4e9f557b83c81ac5d7",
        ("python", MISTRAL): "3996f787cb64b13c9b34b8a4fca7a2af387df904e9f2a15d98e60cef7c390b55",
    }
)
#: Turns of proof episodes beside calls of the tool and those of all worlds: each fault of each
#: form, with the tool's name for `$tool` and its argument's for `$argument`.
FAULTY_TURNS = (
    "$tool:",
    "$tool : 1",
    "so $tool: 1",
    "$tool: 1\nso",
    "x\r$tool:1\r\n",
    "$tool: 1\n</think>#### 1",
    "<think>\n$tool: 1\n</think>\n$tool: 2",
    "<tool_call>1",
    "</tool_call>",
    "<tool_call></tool_call>",
    "<tool_call>1</tool_call> 2",
    "<tool_call><tool_call>",
    "<tool_call>{}</tool_call>\n",
    '<tool_call>{"name": "$tool"}</tool_call>',
    '<tool_call>{"name": "$tool", "arguments": {}}</tool_call>',
    '<tool_call>{"name": "$tool", "arguments": {"$argument": 1}}</tool_call>',
    '<tool_call>{"name": "$tool", "arguments": {"$argument": "1", "x": "1"}}</tool_call>',
    '<tool_call>{"name": "x", "arguments": {"$argument": "1"}}</tool_call>',
    '<tool_call>{"name": "$tool", "arguments": {"$argument": "1"}, "x": 1}</tool_call>',
    '<tool_call>{"name": "$tool", "name": "$tool"}</tool_call>',
    '<tool_call>{"\\u006eame": "$tool", "arguments": {"$argument": "\\u0031"}}</tool_call>',
    '{"a": $tool',
    '{"a": 1',
    '{"a": 1.5}',
    '{"a" 1}',
    "{1: 2}",
    '{"a": 1 "b": 2}',
    '{"a": 1} 1',
    '{"a": "',
    '{"a": "\n"}',
    '{"a": "\\x"}',
    '{"a": "\\ud83d"}',
    '{"a": 1234567890123456789}',
    '{"a": [[[[[[[[1]]]]]]]]}',
    '{"a": [1, [], {}, null]}',
    '{"type": "function", "name": "$tool", "parameters": {"$argument": "1"}}',
    '<|python_tag|>{"name": "$tool", "parameters": {"$argument": "1"}}',
    "<|python_tag|>1",
    '{"name": "$tool", "arguments": {"$argument": "1"}}',
    "<tool_call><function=$tool><parameter=$argument>1</parameter></function></tool_call>",
    "<tool_call><function=$tool><parameter=$argument>\n\n1\n\n</parameter>\n</function></tool_call>",
    "<tool_call><function=x><parameter=$argument>1</parameter></function></tool_call>",
    "<tool_call><function=$tool><parameter=x>1</parameter></function></tool_call>",
    "<tool_call><function=$tool></function></tool_call>",
    "<tool_call><function=$tool><parameter=$argument>1</parameter>2</function></tool_call>",
    "<tool_call><function=$tool><parameter=$argument>1</function></tool_call>",
    '[TOOL_CALLS]$tool[ARGS]{"$argument": "1"}',
    '[TOOL_CALLS] [{"name": "$tool", "arguments": {"$argument": "1"}, "id": "a00000000"}]',
    "[TOOL_CALLS]",
    "[TOOL_CALLS][]",
    "[TOOL_CALLS][1, 2]",
    "[TOOL_CALLS]{}",
    "[TOOL_CALLS][1]",
    "[TOOL_CALLS][TOOL_CALLS]",
    "[TOOL_CALLS]$tool[ARGS]{}",
    "[TOOL_CALLS]x[ARGS]{}",
)


@lru_cache(16)
def compute_tool_proof(tool: Tool, form: CallForm) -> bytes:
    """32 bytes that name a tool's replies to its proof episode. The environments' page has the
    rule."""
    turns = [
        *(write_call(argument, form, tool) for argument in tool.proof_arguments),
        *(
            turn.replace("$tool", tool.name).replace("$argument", tool.argument)
            for turn in FAULTY_TURNS
        ),
        *ODD_TURNS,
    ]
    memory: object = None
    fields = [describe_tool(tool).encode()]
    for turn in turns:
        call = read_call(turn, form, tool)
        if call is not None and not isinstance(call, CallFault):
            call, memory = tool.call(call, memory)
        fields.append(b"\x00" if call is None else b"\x01" + call.encode("utf-8", "surrogatepass"))
    return hash_fields(Domain.ENVIRONMENT_PROOF, *fields)
