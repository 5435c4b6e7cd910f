"""Answers requests to a taskset, inside the interpreter: it loads the tasks, and scores replies to
one of them. It never runs outside.
"""

import base64
import importlib
import itertools
import json
import re
import zlib
from collections.abc import Iterator, Set
from typing import Any

from assay.environments.tasksets import conversation, modules, surface

#: Tasks that are asked, from the first on; and if the taskset says that it has no end.
TASKS_MAX, ENDLESS_MAX = 20_000, 1_000
#: Most characters of a prompt, and of a task's data; about how many bytes of tasks a reply has;
#: most replies tried in search of a right one.
PROMPT_MAX, ROW_MAX, PACKED_MAX, TRIES_MAX = 16_384, 1 << 18, 1 << 20, 96
#: As `assay.environments.base.BLANKS`.
_BLANKS = " \t\r\n"
#: Patterns as text: most replies need none, and compiling one takes ten million instructions.
_CONTROL = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]"
_TAG = r"<([A-Za-z][A-Za-z0-9_-]{0,40})>"
#: Most turns of an episode, as of a package.
TURNS_MAX = 64
#: Forms of an answer in a turn: texts before and after it.
_FORMS = {
    "bare": ("", ""),
    "box": ("\\boxed{", "}"),
    "mark": ("#### ", ""),
    "answer": ("<answer>", "</answer>"),
}
#: The same between tags that the user names last: what stands within them, around the answer.
_IN_TAGS = {"tags": "", "lines": "\n"}
#: Methods of verifiers' environments that a scripted user does not need.
_ENV_HOOKS = frozenset(
    {
        *("__init__", "setup", "finalize", "complete", "start", "stop", "run_episode", "slots"),
        *("run_slot", "serving"),
    }
)
#: Fields that every task has. None holds its answer.
_COMMON = {
    *("idx", "id", "name", "description", "prompt", "system_prompt", "image", "workdir"),
    *("network_allow", "network_block", "artifacts", "timeout", "resources", "agent_user"),
    *("skills", "artifact_max_bytes"),
}
#: Methods that verifiers calls outside of a reply → what each needs.
_HOOKS = {
    "setup": "a runtime",
    "finalize": "a runtime",
    "stage_verifier": "a runtime",
    "runtime_env": "a runtime",
    "toolsets": "tools",
    "score": "a scorer of its own",
    "plugged_judges": "a judge",
    "hooks": "a scorer of its own",
    "__init__": "what is not in its data",
}


def answer(top: str, bundle: bytes, kind: str, *rest: Any) -> dict[str, Any]:
    """The reply to `load`, with the number of the first task; or to `make`, `solve`, `wrong` with a
    task's data, or `score` with these and a reply. Only the first has a bundle. With a scripted
    user, in place of the last three: to `right turns`, or `play` with the turns so far."""
    modules.install(bundle)
    taskset, task_type, user = _open(importlib.import_module(top))
    if kind == "load":
        return _load(taskset, task_type, user, rest[0])
    row, *texts = rest
    data = task_type.data_type()(**json.loads(row))
    config = taskset.config.task
    task = task_type(data, config if isinstance(config, task_type.config_type()) else None)
    if kind == "make":
        return {"prompt": _write_prompt(task, user)}
    if kind == "right turns":
        return _solve_turns(task, user)
    if kind == "play":
        return _play(task, user, *texts)
    if kind == "solve":
        return _solve(task, user)
    if kind == "wrong":
        texts = ["", data.prompt_text, data.system_prompt or "", _write_prompt(task, user)]
        return {"wrong": sorted(set(texts))}
    rewards = _score(task, user, texts[0])
    fault = surface.find_range_fault(rewards)
    if fault is not None:
        return {"right": False, "fault": fault}
    return {"right": surface.is_full(rewards), "rewards": rewards}


def _load(taskset: Any, task_type: Any, user: Any, first: int) -> dict[str, Any]:
    """The data of the tasks from `first` on, as many as one reply has room for, packed; and how
    many tasks there are, and how many are left out for their prompt."""
    packer, packed = zlib.compressobj(1), b""
    count = skipped = 0
    turns = 1
    usual = surface.VfTaskData().model_dump()
    most = ENDLESS_MAX if taskset.INFINITE else TASKS_MAX
    for index, task in enumerate(itertools.islice(taskset.load(), most)):
        if type(task) is not task_type:
            raise TypeError(f"a task is a {type(task).__name__}, not a {task_type.__name__}")
        task = task.with_data(idx=index)
        data = task.data
        _require_bare(data)
        if not is_prompt(_write_prompt(task, user)):
            skipped += 1
            continue
        count += 1
        turns = max(turns, 1 if user is None else _count_turns(task, user))
        if count > first and len(packed) < PACKED_MAX:
            dumped = data.model_dump().items()
            row = json.dumps({n: v for n, v in dumped if n not in usual or usual[n] != v})
            if len(row) > ROW_MAX:
                raise ValueError(f"a task has more than {ROW_MAX} characters of data")
            packed += packer.compress(f"{row}\n".encode())
    packed += packer.flush()
    rows = base64.b64encode(packed).decode()
    return {"tasks": count, "skipped": skipped, "turns": turns, "rows": rows}


def _open(module: Any) -> tuple[Any, Any, Any]:
    """The taskset that a module exports, with its defaults, the type of its tasks, and its scripted
    user, which may be None."""
    names = vars(module).get("__all__")
    if names is None:
        raise ValueError("the package names no __all__: verifiers finds no taskset in it")
    offered = [vars(module).get(name) for name in names]
    kinds: list[Any] = [
        one for one in offered if isinstance(one, type) and issubclass(one, surface.VfTaskset)
    ]
    if len(kinds) != 1:
        raise ValueError(f"its __all__ names {len(kinds)} tasksets: one is asked")
    users: list[Any] = [
        one
        for one in offered
        if isinstance(one, type) and issubclass(one, conversation.VfSingleAgentEnv)
    ]
    if len(users) > 1:
        raise ValueError(f"its __all__ names {len(users)} environments: one may be")
    task_type = kinds[0].task_type()
    overrides = [(kinds[0], name) for name in _find_own(kinds[0], surface.VfTaskset, {"toolsets"})]
    overrides += [(task_type, name) for name in _find_own(task_type, surface.VfTask, _HOOKS.keys())]
    if overrides:
        one, name = overrides[0]
        raise PermissionError(f"{one.__name__}.{name}: it needs {_HOOKS[name]}")
    if task_type.NEEDS_CONTAINER:
        raise PermissionError(f"{task_type.__name__} needs a container")
    user = None
    if users and vars(users[0]).get("run"):
        if own := _find_own(users[0], conversation.VfSingleAgentEnv, _ENV_HOOKS):
            raise PermissionError(f"{users[0].__name__}.{own[0]}: it needs agents of its own")
        user = users[0](users[0].config_type()())
    return kinds[0](kinds[0].config_type()()), task_type, user


def _write_prompt(task: Any, user: Any) -> str:
    """The system prompt and the messages as one text; of a scripted user, what it says first."""
    data, opening = task.data, ""
    if user is not None:
        opening = conversation.Conversation(user, task).opening
    elif data.prompt is None:
        raise PermissionError("a task has no prompt: somebody else opens, and no user is here")
    parts = [data.system_prompt, opening or data.prompt_text]
    return "\n\n".join(part for part in parts if part).rstrip(_BLANKS)


def _count_turns(task: Any, user: Any) -> int:
    """Turns of an episode without a word, as far as they are allowed."""
    talk, count = conversation.Conversation(user, task), 1
    while count <= TURNS_MAX and talk.answer("") is not None:
        count += 1
    return count


def _play(task: Any, user: Any, turns: list[str]) -> dict[str, Any]:
    """What a scripted user says to the last of some turns, and whether they earn in full."""
    talk, said = conversation.Conversation(user, task), None
    for turn in turns:
        said = talk.answer(turn)
        if said is None:
            break
    rewards = talk.score()
    if fault := surface.find_range_fault(rewards):
        raise ValueError(fault)
    return {"reply": said, "right": surface.is_full(rewards), "rewards": rewards}


def _solve_turns(task: Any, user: Any) -> dict[str, Any]:
    """Turns that earn in full, made from the task's data: in each an entry of a list, or in all the
    same text; and how the last one is formed.

    Raises:
        LookupError: no turns do.
    """
    values = [v for name, v in task.data.model_dump().items() if name not in _COMMON]
    lists = [one for value in values for one in _list_lists(value)]
    texts = dict.fromkeys(text for value in values for text in _list_texts(value))
    lists += [[text] * TURNS_MAX for text in texts]
    ways = itertools.product((*_IN_TAGS, *_FORMS), lists, ("\n", ", "))
    for form, entries, between in itertools.islice(ways, TRIES_MAX):
        talk = conversation.Conversation(user, task)
        said: Any = talk.opening or task.data.prompt_text
        around, turns, bare = _FORMS.get(form), list[str](), ""
        for entry in entries:
            if form in _IN_TAGS and (tags := re.findall(_TAG, said)):
                around = f"<{tags[-1]}>{_IN_TAGS[form]}", f"{_IN_TAGS[form]}</{tags[-1]}>"
            bare = between.join(map(str, entry)) if isinstance(entry, list) else str(entry)
            before, after = around or ("", "")
            turns.append(f"{before}{bare}{after}")
            said = talk.answer(turns[-1])
            if said is None:
                break
        rewards = talk.score()
        if fault := surface.find_range_fault(rewards):
            raise ValueError(fault)
        if surface.is_full(rewards):
            return {"turns": turns, "bare": bare, "form": list(around or ("", ""))}
    raise LookupError("no turns made of its data earn in full")


def _list_lists(value: Any) -> Iterator[list[Any]]:
    """The lists in a value, the outer ones first."""
    if isinstance(value, dict):
        for one in value.values():
            yield from _list_lists(one)
    elif isinstance(value, list) and value:
        yield value
        for one in value:
            yield from _list_lists(one)


def _score(task: Any, user: Any, reply: str) -> Any:
    """The rewards of a reply; of a scripted user, those of a talk that ends with it."""
    if user is None:
        return surface.score_reply(task, reply)
    talk = conversation.Conversation(user, task)
    talk.answer(reply)
    return talk.score()


def _solve(task: Any, user: Any) -> dict[str, Any]:
    """A reply that earns in full, made from the task's data.

    Raises:
        LookupError: no reply does.
    """
    best, tried = "", 0
    replies = _list_replies(task.data, _write_prompt(task, user))
    for bare, before, after in itertools.islice(replies, TRIES_MAX):
        rewards = _score(task, user, f"{before}{bare}{after}")
        if fault := surface.find_range_fault(rewards):
            raise ValueError(fault)
        if surface.is_full(rewards):
            form = [before, after]
            return {"answer": f"{before}{bare}{after}", "bare": bare, "form": form}
        summary = ", ".join(f"{name} {score:.3g}" for name, (score, _) in sorted(rewards.items()))
        tried, best = tried + 1, max(best, summary)
    raise LookupError(f"no reply made of its data earns in full, of {tried}; at best {best}")


def _find_own(kind: Any, base: Any, names: Set[str]) -> list[str]:
    """Those of `names` that a class, or a base of it, defines in place of `base`."""
    defined: set[str] = set()
    for one in kind.__mro__:
        if one is base:
            names = names - vars(base).keys()
        defined |= vars(one).keys() & names
    return sorted(defined)


def _require_bare(data: Any) -> None:
    """Raises PermissionError if the task needs more than a question and a reply."""
    for name in ("image", "workdir", "agent_user", "skills", "artifacts"):
        if getattr(data, name):
            raise PermissionError(f"a task has {name}: it needs a runtime")


def is_prompt(text: str) -> bool:
    if not 1 <= len(text.strip(_BLANKS)) <= len(text) <= PROMPT_MAX:
        return False
    quick = text.replace("\n", "").replace("\t", "").isprintable()  # of most, and far cheaper
    return quick or not re.search(_CONTROL, text)


def _list_replies(data: Any, prompt: str) -> Iterator[tuple[str, str, str]]:
    """Possible answers in the task's data, each with a text before and a text after it in a
    reply."""
    tags = dict.fromkeys(re.findall(_TAG, prompt))
    tagged = [(f"<{tag}>", f"</{tag}>") for tag in ("answer", *tags)]
    forms = [("", ""), ("\\boxed{", "}"), ("#### ", ""), *tagged, ("Answer: ", "")]
    forms += [("The answer is ", ""), ("Final answer: ", ""), ("**", "**"), ("[", "]"), ("$", "$")]
    forms += [("```\n", "\n```"), ("```json\n", "\n```"), ('{"answer": "', '"}')]
    forms += [('{"answer": ', "}"), ("<think>\n</think>\n<answer>", "</answer>")]
    values = [v for name, v in data.model_dump().items() if name not in _COMMON]
    texts = dict.fromkeys(text for value in values for text in _list_texts(value))
    yield from ((text, *form) for form in forms for text in texts)


def _list_texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for one in value.values():
            yield from _list_texts(one)
        yield json.dumps(value)
    elif isinstance(value, list):
        if all(isinstance(one, str | int | float) for one in value):
            yield ", ".join(map(str, value))
            yield "\n".join(map(str, value))
            yield from map(str, value[:2])
        yield json.dumps(value)
    elif isinstance(value, str | int | float):
        yield str(value)
