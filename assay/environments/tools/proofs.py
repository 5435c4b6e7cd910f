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
        ("calculator", LINE): "f7c1ff55d3255f159362aa54af0eaf08d0bdc9c4477332f14d1882880dc6ede2",
        ("calculator", HERMES): "ea39cbc60a242e5a514043c1ddf32ea2fa98de6316c9eeae3b116ab75b9237f4",
        ("calculator", LLAMA): "49a74fe11dab2fffb319fec719a8ce7ffa73e043cb8c9a0064e67ba3e2de90dd",
        ("calculator", XML): "bd92bf88b776a1b3ae98762c3bbec69cd481e97e33eebc7e4b7b699907d6957e",
        ("calculator", MISTRAL): "d7e112b40d8d18dca03aa5b6111fea7e783bba7721dfc1f6f406799cb0b531b7",
        ("python", HERMES): "6560ba9dbe6f2c78adcdb840b3f1864aa1b652c301f4f6b94e3c232f79cecb67",
        ("python", LLAMA): "fcc26f96070aff6084ddda7694eaea452515142f4e6e89e4f2375b156daad4a5",
        ("python", XML): "3a0b6b0a33f8b9af1a0308d54fb62082276fc735d88d8ee0236a85660711d202",
        ("python", MISTRAL): "e045d37935242619f24d807ec8405921abe3dc4187422dcf54639193c743de9d",
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
    '[TOOL_CALLS]$tool[CALL_ID]a1b2c3d4e[ARGS]{"$argument": "1"}',
    '[TOOL_CALLS]$tool[CALL_ID][ARGS]{"$argument": "1"}',
    'so [TOOL_CALLS] $tool {"$argument": "[TOOL_CALLS]</think>"}\n',
    '[TOOL_CALLS]$tool{"$argument": "1"} so',
    '[TOOL_CALLS]so it is {"$argument": "1"}',
    '[TOOL_CALLS]$tool{"$argument": "1"}[TOOL_CALLS]$tool{"$argument": "2"}',
    '[TOOL_CALLS]$tool{"$argument": "1"}</think>[TOOL_CALLS]$tool{"$argument": "2"}',
    '[TOOL_CALLS][{"name": 1, "arguments": {"$argument": "1"}}]',
    '<tool_call>{"name": "$tool", "arguments": "{\\"$argument\\": \\"1\\"}"}</tool_call>',
    '<tool_call>{"name": "$tool", "arguments": "1+"}</tool_call>',
    '<tool_call>{"name": "$tool", "arguments": {"$argument": "<tool_call></think>"}}</tool_call>',
    '<tool_call>{"name": "$tool", "arguments": {"$argument": "</tool_call>"}}\n</tool_call>\r\n',
    '<tool_call>{"name": "$tool", "arguments": {"$argument": "</tool_call>"}}</tool_call> so',
    '<tool_call>{"name": "$tool", "arguments": {"$argument": "1"}}</tool_call> so'
    '<tool_call>{"name": "$tool", "arguments": {"$argument": "2"}}</tool_call>',
    '<tool_call>{"name": "$tool", "arguments": {"$argument": "1"}}</tool_call></think>'
    '<tool_call>{"name": "$tool", "arguments": {"$argument": "2"}}</tool_call>',
    "<tool_call></tool_call>"
    '<tool_call>{"name": "$tool", "arguments": {"$argument": "1"}}</tool_call>',
    '<tool_call>{"name": "$tool", "arguments": {"$argument": "<tool_call><tool_call><tool_call>'
    '<tool_call><tool_call><tool_call><tool_call>"}}</tool_call>',
    '<tool_call>{"name": "$tool", "arguments": {"$argument": "<tool_call><tool_call><tool_call>'
    '<tool_call><tool_call><tool_call><tool_call><tool_call>"}}</tool_call>',
    '<tool_call>{"name": "$tool", "arguments": {"$argument": "\\ud83d\\ude00"}}</tool_call>',
    '{"name": "$tool", "parameters": {"$argument": "\\uDE00\\uD83D"}}',
    'so <|python_tag|>{"name": "$tool", "parameters": "{\\"$argument\\": \\"</think>\\"}"}',
    '{"name": "$tool", "parameters": {"$argument": "</think>"}}',
    '{"name": "$tool", "parameters": {"$argument": "1"}}</think>\n'
    '{"name": "$tool", "parameters": {"$argument": "2"}}',
    '{"name": "$tool", "parameters": {"$argument": "1"}}<|python_tag|>'
    '{"name": "$tool", "parameters": {"$argument": "2"}}',
    "<tool_call><function=$tool><parameter=$argument></parameter><tool_call>"
    "</parameter></function></tool_call>",
    "<tool_call><function=$tool><parameter=$argument></tool_call></parameter></function></tool_call>",
    "<tool_call><function=></function></tool_call>",
    "<tool_call><function=x></function></tool_call><tool_call>",
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
