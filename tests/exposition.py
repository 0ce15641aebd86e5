"""A strict reader of Prometheus' text format 0.0.4: what it takes, a Prometheus takes. Standard library only.

    families = parse(text)      {name: Family}; raises ValueError with the line that is wrong
"""
import math
import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)?\}})? (\S+)$")
TYPES = ("counter", "gauge", "histogram", "summary")
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}  # summaries without quantiles


class Family:
    """One metric with all its samples: {(name, labels): value}, labels as sorted pairs."""

    def __init__(self, name, kind, text):
        self.name, self.kind, self.help = name, kind, text
        self.samples = {}


def number(text):
    if text in ("+Inf", "-Inf", "NaN"):
        return float(text.replace("Inf", "inf"))
    if not re.fullmatch(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", text):
        raise ValueError(f"no number: {text}")
    return float(text)


def names_of(family):
    return {family.name + suffix for suffix in SUFFIXES.get(family.kind, ("",))}


def check_histogram(family):
    series = {}
    for (name, labels), value in family.samples.items():
        rest = tuple(pair for pair in labels if pair[0] != "le")
        entry = series.setdefault(rest, {"buckets": []})
        if name.endswith("_bucket"):
            entry["buckets"].append((number(dict(labels)["le"]), value))
        else:
            entry[name.rsplit("_", 1)[1]] = value
    for labels, entry in series.items():
        bounds = [bound for bound, _ in entry["buckets"]]
        counts = [count for _, count in entry["buckets"]]
        if bounds != sorted(set(bounds)) or not bounds or bounds[-1] != math.inf:
            raise ValueError(f"{family.name}{labels}: bounds {bounds}")
        if counts != sorted(counts) or entry.get("count") != counts[-1] or "sum" not in entry:
            raise ValueError(f"{family.name}{labels}: counts {counts}, {entry.get('count')}")


def check(family):
    if not family.samples and family.kind != "histogram" and not family.name.endswith("responses_total"):
        raise ValueError(f"{family.name} has no samples")
    if (family.kind == "counter") != family.name.endswith("_total"):
        raise ValueError(f"{family.name} is a {family.kind}")
    if family.kind == "histogram":
        check_histogram(family)
    if family.kind == "counter" and any(value < 0 or math.isnan(value) for value in family.samples.values()):
        raise ValueError(f"{family.name} is negative")


def take_sample(family, line):
    match = SAMPLE.match(line)
    if not match or family is None:
        raise ValueError(f"no sample: {line}")
    name, labels, value = match.groups()
    if name not in names_of(family):
        raise ValueError(f"{name} among the samples of {family.name}")
    pairs = tuple(sorted(tuple(pair.split("=", 1)) for pair in re.findall(LABEL, labels or "")))
    pairs = tuple((key, text[1:-1]) for key, text in pairs)
    if len({key for key, _ in pairs}) != len(pairs) or (name, pairs) in family.samples:
        raise ValueError(f"twice: {line}")
    if name.endswith("_bucket") and "le" not in dict(pairs):
        raise ValueError(f"a bucket without le: {line}")
    family.samples[name, pairs] = number(value)


def parse(text):
    if not text.endswith("\n"):
        raise ValueError("the last line has no end")
    families, family, about = {}, None, None
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            _, _, name, words = line.split(" ", 3)
            if name in families or not re.fullmatch(NAME, name) or not words.strip():
                raise ValueError(f"bad or second: {line}")
            about, family = (name, words), None
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            if about is None or about[0] != name or kind not in TYPES:
                raise ValueError(f"unexpected: {line}")
            family = families[name] = Family(name, kind, about[1])
            about = None
        else:
            take_sample(family, line)
    for each in families.values():
        check(each)
    return families


BAD = (
    "a_total 1\n",                                                                    # no HELP, no TYPE
    "# HELP a_total x\n# TYPE a_total counter\na_total 1",                            # no line end
    "# HELP a_total x\n# TYPE a_total counter\na_total 1\na_total 2\n",               # twice
    "# HELP a_total x\n# TYPE a_total counter\nb_total 1\n",                          # another's sample
    "# HELP a_total x\n# TYPE a_total gauge\na_total 1\n",                            # _total is for counters
    "# HELP a x\n# TYPE a counter\na 1\n",                                            # and counters are _total
    "# HELP a x\n# TYPE a gauge\na one\n",
    '# HELP a x\n# TYPE a gauge\na{b="c"d"} 1\n',                                     # a quote that is not escaped
    '# HELP a x\n# TYPE a gauge\na{b="c",b="d"} 1\n',
    "# HELP a x\n# TYPE a gauge\na 1\n# HELP a x\n# TYPE a gauge\n",                  # a second time
    '# HELP a x\n# TYPE a histogram\na_bucket{le="1"} 1\na_sum 1\na_count 1\n',       # no +Inf
    '# HELP a x\n# TYPE a histogram\na_bucket{le="1"} 2\na_bucket{le="+Inf"} 1\na_sum 1\na_count 1\n',
    '# HELP a x\n# TYPE a histogram\na_bucket{le="+Inf"} 1\na_sum 1\na_count 2\n',
    '# HELP a x\n# TYPE a histogram\na_bucket{le="+Inf"} 1\na_count 1\n',             # no sum
)
