"""What the older systems do with an investigation archive and with an export bundle, from their description.

    old_tools.py investigation FILE [SCHEMA]    prints what their importer sees of an archive, as JSON; fails where it refuses
    old_tools.py bundle FOLDER                  fails where their verification says no
"""

import hashlib
import io
import json
import math
import posixpath
import re
import sys
import tarfile
from datetime import datetime
from pathlib import Path

SUPPORTED = {"1.0"}
MAX_SIZE = 104857600


class Refused(Exception):
    pass


# The canonical form of RFC 8785, for the chain of evidence.

def es_number(value):
    if isinstance(value, int):
        if abs(value) > 2**53 - 1:
            raise Refused(f"integer {value} beyond doubles")
        return str(value)
    if not math.isfinite(value):
        raise Refused("not finite")
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    digits, exponent = f"{abs(value)!r}", 0
    if "e" in digits:
        digits, exponent = digits.split("e")[0], int(digits.split("e")[1])
    whole, _, fraction = digits.partition(".")
    fraction = "" if fraction == "0" else fraction
    point = len(whole) + exponent
    text = (whole + fraction).lstrip("0")
    point -= len(whole + fraction) - len(text)
    text = text.rstrip("0")
    count = len(text)
    if count <= point <= 21:
        return sign + text + "0" * (point - count)
    if 0 < point <= 21:
        return sign + text[:point] + "." + text[point:]
    if -6 < point <= 0:
        return sign + "0." + "0" * -point + text
    power = point - 1
    mantissa = text if count == 1 else text[0] + "." + text[1:]
    return f"{sign}{mantissa}e{'+' if power >= 0 else '-'}{abs(power)}"


def canonical(value):
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return es_number(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return "[" + ",".join(canonical(item) for item in value) + "]"
    keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
    return "{" + ",".join(canonical(key) + ":" + canonical(value[key]) for key in keys) + "}"


def content_hash(item):
    hashed = {name: item.get(name) for name in ("content", "kind", "prev_hash", "seq")}
    return hashlib.sha256(b"evidence_v1:" + canonical(hashed).encode()).hexdigest()


def verify_chain(items):
    if not any(item.get("content_hash") for item in items):
        return "none"
    before = None
    for item in items:
        if item.get("prev_hash") != before:
            raise Refused(f"seq {item.get('seq')}: prev_hash mismatch")
        if item.get("content_hash") != content_hash(item):
            raise Refused(f"seq {item.get('seq')}: content_hash mismatch")
        before = item["content_hash"]
    return "valid"


# Enough of JSON Schema for metadata.schema.json.

def check_schema(value, schema, root, where="metadata"):
    if "$ref" in schema:
        target = root
        for name in schema["$ref"].removeprefix("#/").split("/"):
            target = target[name]
        return check_schema(value, target, root, where)
    if "anyOf" in schema:
        for choice in schema["anyOf"]:
            try:
                return check_schema(value, choice, root, where)
            except Refused:
                pass
        raise Refused(f"{where}: none of the choices")
    types = {"string": str, "integer": int, "object": dict, "array": list, "null": type(None)}
    wanted = schema.get("type")
    if wanted and (not isinstance(value, types[wanted]) or isinstance(value, bool)):
        raise Refused(f"{where}: not {wanted}")
    if "minimum" in schema and value < schema["minimum"]:
        raise Refused(f"{where}: too small")
    if schema.get("format") == "date-time":
        if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", value):
            raise Refused(f"{where}: no date-time")
        datetime.fromisoformat(value.replace("Z", "+00:00"))
    for name in schema.get("required", []):
        if name not in value:
            raise Refused(f"{where}: {name} is missing")
    for name, inner in schema.get("properties", {}).items():
        if name in value:
            check_schema(value[name], inner, root, f"{where}.{name}")
    if isinstance(value, list) and "items" in schema:
        for item in value:
            check_schema(item, schema["items"], root, where)


# The importer.

def validate_archive(path):
    if not path.exists():
        raise Refused(f"Archive file not found: {path}")
    if path.stat().st_size > MAX_SIZE:
        raise Refused("Snapshot size exceeds maximum")
    with tarfile.open(path, "r:gz") as archive:
        members = archive.getmembers()
        for member in members:
            if member.name.startswith("/"):
                raise Refused(f"Absolute path in archive: {member.name}")
            if ".." in member.name:
                raise Refused(f"Path traversal in archive: {member.name}")
            if member.issym() or member.islnk():
                raise Refused(f"Symbolic link in archive: {member.name}")
        found = next((member for member in members if member.name.endswith("metadata.json")), None)
        if found is None:
            raise Refused("Archive missing metadata.json")
        metadata = json.loads(archive.extractfile(found).read())
        version = metadata.get("schema_version", "1.0")
        if version not in SUPPORTED:
            raise Refused(f"Schema version '{version}' is not supported")
        for name in ("investigation_id", "status", "evidence_count"):
            if name not in metadata:
                raise Refused(f"Invalid snapshot metadata: {name}")
        # The importer only warns of these; whoever writes archives for it must give it no reason to.
        root = f"snapshot-{metadata['investigation_id']}/"
        there = sorted(member.name.removeprefix(root) for member in members)
        if there != sorted(metadata.get("files", []) + ["metadata.json"]):
            raise Refused(f"inventory: {metadata.get('files')} listed, {there} there")
        return metadata, members, archive


def extract(path):
    """Evidence by number, prompts, lineage, and the files as they are."""
    evidence, prompts, lineage, files = [], {}, None, {}
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            content = archive.extractfile(member).read()
            files[member.name] = hashlib.sha256(content).hexdigest()
            name = member.name
            if "evidence/" in name and name.endswith(".json") and "-results.json" not in name:
                evidence.append(json.loads(content))
            for prompt in ("hypothesis", "query", "synthesis"):
                if name.endswith(f"prompts/{prompt}.txt"):
                    prompts[prompt] = content.decode()
            if name.endswith("lineage.json"):
                lineage = json.loads(content) or None
    evidence.sort(key=lambda item: item.get("seq", 0))
    return evidence, prompts, lineage, files


def check_layout(path, metadata, members):
    """What the builder writes and nothing else."""
    root = f"snapshot-{metadata['investigation_id']}"
    raw = path.read_bytes()
    assert raw[:4] == b"\x1f\x8b\x08\x08" and raw[10:raw.index(b"\0", 10)] == f"{root}.tar".encode(), raw[:40]
    for member in members:
        assert member.isreg() and member.mode == 0o644 and member.uid == member.gid == 0, member
        assert not member.uname and not member.gname and member.name.startswith(root + "/"), member
    names = [member.name.removeprefix(root + "/") for member in members]
    assert names[-1] == "metadata.json", names

    def place(name):
        if name.startswith("evidence/"):
            seq, rest = posixpath.basename(name).split("-", 1)
            return 0, int(seq), rest.startswith("results."), name
        order = ["lineage.json", "code_changes.json", "prompts/hypothesis.txt", "prompts/query.txt", "prompts/synthesis.txt"]
        return 1, order.index(name) if name in order else len(order), False, name

    assert names[:-1] == sorted(names[:-1], key=place), names


def investigation(path, schema):
    metadata, members, _ = validate_archive(path)
    if schema:
        schema = json.loads(Path(schema).read_text())
        check_schema(metadata, schema, schema)
    check_layout(path, metadata, members)
    evidence, prompts, lineage, files = extract(path)
    if metadata["evidence_count"] != len(evidence):
        raise Refused("evidence_count")
    chain = verify_chain(evidence)
    if metadata.get("root_hash") != (evidence[-1].get("content_hash") if evidence else None):
        raise Refused("root_hash")
    if bool(metadata.get("root_hash")) != (metadata.get("chain_metadata") == {"algorithm": "sha256", "domain_prefix": "evidence_v1:"}):
        raise Refused("chain_metadata")
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            if not member.name.endswith(".json"):
                continue
            text = archive.extractfile(member).read().decode("ascii")
            # As Python's json.dumps(indent=2) writes it; numbers are told apart by their text.
            keep = {"parse_float": lambda token: Token(token), "parse_int": lambda token: Token(token)}
            assert dumps(json.loads(text, **keep)) == text, member.name
    return {"metadata": metadata, "evidence": evidence, "prompts": prompts, "lineage": lineage, "files": files, "chain": chain}


class Token(str):
    """A number as it is written."""


def dumps(value, indent=0, ascii=True):
    inner, outer = "\n" + "  " * (indent + 1), "\n" + "  " * indent
    if isinstance(value, Token):
        return str.__str__(value)
    if isinstance(value, dict) and value:
        items = [json.dumps(key) + ": " + dumps(item, indent + 1) for key, item in value.items()]
        return "{" + inner + ("," + inner).join(items) + outer + "}"
    if isinstance(value, list) and value:
        return "[" + inner + ("," + inner).join(dumps(item, indent + 1) for item in value) + outer + "]"
    return json.dumps(value)


# The bundle's own verification, and what it lets pass.

def bundle(folder):
    listed = {}
    for line in (folder / "checksums.sha256").read_bytes().decode().split("\n"):
        if not line.strip():
            continue
        if "  " not in line:
            raise Refused(f"no double space: {line}")
        digest, name = line.split("  ", 1)
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
            raise Refused(f"hash differs: {name}")
        listed[name] = digest
    there = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name != "checksums.sha256")
    if list(listed) != there:
        raise Refused(f"{list(listed)} listed, {there} there")
    text = (folder / "manifest.json").read_text()
    manifest = json.loads(text)
    assert manifest["bundle_format_version"] == 1
    assert json.dumps(manifest, indent=2, sort_keys=True) + "\n" == text, "another form"
    assert [(f["path"], f["size_bytes"]) for f in manifest["files"]] == [
        (name, (folder / name).stat().st_size) for name in there if name.startswith("scenario_plans/")
    ]
    assert {plan["file"] for plan in manifest["scenario_plans"]} == {f["path"] for f in manifest["files"]}
    assert (folder / "scenario_plans").is_dir()
    datetime.fromisoformat(manifest["exported_at"])
    return {"manifest": manifest, "files": listed}


if __name__ == "__main__":
    what, path = sys.argv[1], Path(sys.argv[2])
    try:
        seen = investigation(path, sys.argv[3] if len(sys.argv) > 3 else None) if what == "investigation" else bundle(path)
    except (Refused, tarfile.TarError, EOFError, OSError) as refusal:
        sys.exit(f"refused: {refusal}")
    print(json.dumps(seen, sort_keys=True))
