"""What the older system does with a pack of exchange records, from its description.

    old_records.py read FOLDER          reads a pack as its reader does; prints what it saw, as JSON
    old_records.py unpack FILE FOLDER   unpacks a zip, or a zip.enc with the password in SNAPSHOT_ENCRYPTION_KEY, and reads that

That reader passes over what it cannot read, and compares no hash. This one fails at both: it computes each hash by its own rules, and nothing of
Larder is in it.
"""

import hashlib
import json
import os
import sys
import zipfile
from datetime import datetime
from pathlib import Path

from canonical import canonical_form

REQUIRED = ("exchange_id", "exchange_type", "source_system", "entity_type", "content_sha256")
HASHED = ("exchange_type", "source_system", "entity_type", "natural_key", "request", "response")
ITERATIONS = 480000


class Refused(Exception):
    pass


def need(condition, what):
    if not condition:
        raise Refused(what)


def content_hash(record):
    form = canonical_form({name: record.get(name) for name in HASHED})
    return hashlib.sha256(form.encode()).hexdigest()


def manifest(folder):
    text = (folder / "manifest.json").read_text(encoding="utf-8")
    found = json.loads(text)
    need(json.dumps(found, indent=2, ensure_ascii=False) == text, "the manifest is not written so")
    for name in ("dataset_name", "exchange_type", "source_system", "entity_type"):
        need(isinstance(found[name], str), name)
    sql, sync = found.get("sql_target", {}), found.get("sync_policy", {})
    need(sql.get("schema", "lake") and sql.get("table", "t"), "sql_target")
    need(sync.get("direction_default", "bidirectional") in ("bidirectional", "json_to_sql", "sql_to_json"), "direction")
    need(sync.get("conflict_strategy", "prefer_newest") in ("prefer_newest", "prefer_sql", "prefer_json", "fail"), "strategy")
    for policy in ("redaction_policy", "encryption_policy"):
        need(isinstance((found.get(policy) or {}).get("enabled", False), bool), policy)
    for name in ("created_at", "updated_at"):
        if found.get(name):
            datetime.fromisoformat(found[name].replace("Z", "+00:00"))
    return found


def records(folder):
    """Each record with the path of its file, in the order in which they are read."""
    for path in sorted((folder / "records").rglob("*.ndjson")):
        name = path.relative_to(folder).as_posix()
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                line = line.strip()
                if not line:
                    continue
                record = json.loads(line)
                for field in REQUIRED:
                    need(field in record, f"{name}: {field}")
                if record.get("observed_at_utc"):
                    datetime.fromisoformat(record["observed_at_utc"].replace("Z", "+00:00"))
                computed = content_hash(record)
                need(record["content_sha256"] == computed, f"{name}: {record['exchange_id']} has the hash {computed}")
                yield name, record


def key_of(record):
    return "|".join(record.get(name) or "" for name in ("source_system", "entity_type", "natural_key"))


def read(folder):
    described = manifest(folder)
    firsts, by_key = {}, {}
    for name, record in records(folder):
        firsts.setdefault(record["content_sha256"], (name, record))
        by_key.setdefault(key_of(record), []).append(record["content_sha256"])
    index = {}
    for line in (folder / "index.jsonl").open(encoding="utf-8"):
        entry = json.loads(line)
        need(list(entry) == ["h", "k", "id", "t", "f"], f"a line of the index: {line}")
        need(entry["h"] not in index, f"{entry['h']} stands twice in the index")
        index[entry["h"]] = entry
    need(set(index) == set(firsts), "the index has not the hashes of the records")
    for digest, entry in index.items():
        name, record = firsts[digest]
        seen = (key_of(record), record["exchange_id"], record.get("observed_at_utc") or "", name)
        need((entry["k"], entry["id"], entry["t"], entry["f"]) == seen, f"the index says {entry}, the record is {seen}")
    return {"name": described["dataset_name"], "hashes": sorted(firsts), "keys": {key: sorted(all) for key, all in by_key.items()}}


def decrypted(path):
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    data = path.read_bytes()
    key = hashlib.pbkdf2_hmac("sha256", os.environ["SNAPSHOT_ENCRYPTION_KEY"].encode(), data[:16], ITERATIONS, 32)
    return AESGCM(key).decrypt(data[16:28], data[28:], None)


def unpack(path, out):
    if path.suffix == ".enc":
        plain = out.with_suffix(".temporary.zip")
        plain.write_bytes(decrypted(path))
        path = plain
    with zipfile.ZipFile(path) as archive:
        need(archive.testzip() is None, "a member is damaged")
        archive.extractall(out)
    below = [folder for folder in sorted(out.iterdir()) if (folder / "manifest.json").is_file()]
    return below[0] if below else out


if __name__ == "__main__":
    sys.setrecursionlimit(20000)
    where = Path(sys.argv[2])
    try:
        print(json.dumps(read(where if sys.argv[1] == "read" else unpack(where, Path(sys.argv[3]))), sort_keys=True))
    except (Refused, OSError, ValueError, KeyError, AttributeError, zipfile.BadZipFile) as refusal:
        sys.exit(f"refused: {type(refusal).__name__} {refusal}")
