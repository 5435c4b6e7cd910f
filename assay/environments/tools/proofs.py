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
        ("calculator", LINE): "7c6f63a898452f294546583492e1bd960de320ef329016f544093d7b5a1d5633",
        ("calculator", HERMES): "e174906241dec74c8ca7af96b386c07453b97facd921c82593913f383eb2fb93",
        ("calculator", LLAMA): "1a300903e7ad681d281ebbfd13529e2085914ec28e859a8421525cd9ba839eb4",
        ("calculator", XML): "49943b66a71306b48fe49eaaf8476f7d260276e6632b96203e630bc63ed0c98b",
        ("calculator", MISTRAL): "bc1b6a4f3dd915530ed422e51970e4de7e091ba36658cfe29375164df95426a2",
        ("python", HERMES): "936dd12b0e7e8e6eb85bc2afa7aaeb553ca33dba80eaf56e0da63f28ca51f791",
        ("python", LLAMA): "071475575fe84bd7dfc524d89992de48381832a848bd18556b0d83c3d99e4d1f",
        ("python", XML): "8b6aba0df9624e3d0697d839e73f15bf1fe759ebb1524e711e59da316be35d64",
        ("python", MISTRAL): "656bdde85c26068d96de1a3fd03499f314500d063ec19cf00a3db519c3702070",
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
