"""TFDS without TensorFlow: names, preparation from each builder's own format, both file formats, and clear errors."""

import contextlib
import hashlib
import importlib.util
import io
import json
import struct
import sys
import tarfile
import zipfile
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

from w2s_jax.data import sources, tasks
from w2s_jax.data.sources import without_tensorflow
from w2s_jax.data.sources.tfds import Tfds, split_reference
from w2s_jax.data.task_config import TaskConfig
from w2s_jax.runtime.errors import UserError

tfds = pytest.importorskip("tensorflow_datasets")
pytest.importorskip("array_record")

FBAI = "https://dl.fbaipublicfiles.com"
GOOGLE = "https://storage.googleapis.com"


def lines(*records):
    return "".join(json.dumps(record) + "\n" for record in records)


def table(*rows, header=None, delimiter="\t"):
    return "".join(delimiter.join(row) + "\n" for row in ([header] if header else []) + list(rows))


def zipped(**members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return content.getvalue()


def tarred(**members):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, text in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return content.getvalue()


def cola():
    rows = [("gj04", "1", "", 'The ca"t naïvely sat.'), ("gj04", "0", "*", "Cat the sat.")]
    files = {"train": table(*rows), "dev": table(rows[0]), "test": table(("0", "Sat?"), header=("index", "sentence"))}
    return {f"{FBAI}/glue/data/CoLA.zip": zipped(**{f"CoLA/{name}.tsv": text for name, text in files.items()})}


def sst2():
    rows = [("a fine film ", "1"), ("a dull film ", "0")]
    train = table(*rows, header=("sentence", "label"))
    test = table(("0", "a film"), header=("index", "sentence"))
    return {
        f"{FBAI}/glue/data/SST-2.zip": zipped(
            **{"SST-2/train.tsv": train, "SST-2/dev.tsv": train, "SST-2/test.tsv": test}
        )
    }


def piqa():
    record = {"id": "x", "goal": "Open a jar", "sol1": "Turn the lid.", "sol2": "Turn the jar's base."}
    folder = "physicaliqa-train-dev"
    members = {f"{folder}/train.jsonl": lines(record, record), f"{folder}/train-labels.lst": "0\n1\n"}
    members |= {f"{folder}/dev.jsonl": lines(record), f"{folder}/dev-labels.lst": "1\n"}
    return {f"{GOOGLE}/ai2-mosaic/public/physicaliqa/physicaliqa-train-dev.zip": zipped(**members)}


def paws_wiki():
    header = ("id", "sentence1", "sentence2", "label")
    rows = [("1", "In 1900 A met B .", "In 1900 B met A .", "0"), ("2", "A and B .", "B and A .", "1")]
    final = {f"final/{name}.tsv": table(*rows, header=header) for name in ("train", "dev", "test")}
    url = f"{GOOGLE}/paws/english"
    return {
        f"{url}/paws_wiki_labeled_final.tar.gz": tarred(**final),
        f"{url}/paws_wiki_labeled_swap.tar.gz": tarred(**{"swap/train.tsv": ""}),
        f"{url}/paws_wiki_unlabeled_final.tar.gz": tarred(**{"unlabeled/final/train.tsv": ""}),
        f"{url}/wiki_raw_and_mapping.tar.gz": tarred(**{"wiki_raw_and_mapping/input_swap_wiki_50k.tsv": ""}),
    }


def imdb_reviews():
    members = {
        "aclImdb/train/neg/0_1.txt": "Dull.<br /><br />Très dull.",
        "aclImdb/train/pos/0_9.txt": "Fine.",
        "aclImdb/train/unsup/0_0.txt": "Seen.",
        "aclImdb/test/pos/0_10.txt": "Fine again.",
    }
    return {"http://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz": tarred(**members)}


def bool_q():
    record = {"question": "is water wet", "title": "Water", "answer": True, "passage": "Water is wet."}
    train = lines(record, record | {"answer": False})
    return {f"{GOOGLE}/boolq/train.jsonl": train.encode(), f"{GOOGLE}/boolq/dev.jsonl": lines(record).encode()}


def mctaco():
    rows = [
        ("He ate.", "How long?", "an hour", "yes", "Event Duration"),
        ("He ate.", "How long?", "a year", "no", "Frequency"),
    ]
    url = "https://raw.githubusercontent.com/CogComp/MCTACO/master/dataset"
    return {f"{url}/{name}.tsv": table(*rows).encode() for name in ("dev_3783", "test_9442")}


def cosmos_qa():
    header = ("id", "context", "question", "answer0", "answer1", "answer2", "answer3", "label")
    row = ("a##1", '"It rained, a lot."', "Why?", "Rain", "Snow", "Sun", "Wind", "3")
    text = table(row, header=header, delimiter=",")
    test = dict(zip(header[:-1], row, strict=False))
    url = "https://raw.githubusercontent.com/wilburOne/cosmosqa/master/data"
    return {
        f"{url}/train.csv": text.encode(),
        f"{url}/valid.csv": text.encode(),
        f"{url}/test.jsonl": lines(test).encode(),
    }


def multirc():
    answers = [{"text": "Ann", "idx": 0, "label": 1}, {"text": "Bob", "idx": 1, "label": 0}]
    record = {
        "idx": 5,
        "passage": {"text": "Ann ran.", "questions": [{"question": "Who?", "idx": 7, "answers": answers}]},
    }
    hidden = json.loads(json.dumps(record).replace(', "label": 1', "").replace(', "label": 0', ""))
    members = {
        "MultiRC/train.jsonl": lines(record),
        "MultiRC/val.jsonl": lines(record),
        "MultiRC/test.jsonl": lines(hidden),
    }
    return {f"{FBAI}/glue/superglue/data/v2/MultiRC.zip": zipped(**members)}


def wic():
    record = {"word": "bank", "sentence1": "A bank.", "sentence2": "My bank.", "idx": 3, "label": True, "version": 1.1}
    record |= {"start1": 2, "start2": 3, "end1": 6, "end2": 7}
    hidden = {name: value for name, value in record.items() if name != "label"}
    members = {"WiC/train.jsonl": lines(record), "WiC/val.jsonl": lines(record), "WiC/test.jsonl": lines(hidden)}
    return {f"{FBAI}/glue/superglue/data/v2/WiC.zip": zipped(**members)}


def anli():
    record = {"uid": "u", "context": "Ann ran.", "hypothesis": "Ann moved.", "label": "e", "model_label": "n"}
    parts = {"train": lines(record, record | {"uid": "v", "label": "c"}), "dev": lines(record), "test": lines(record)}
    return {
        f"{FBAI}/anli/anli_v0.1.zip": zipped(**{f"anli_v0.1/R2/{name}.jsonl": text for name, text in parts.items()})
    }


def hellaswag():
    record = {
        "ind": 4,
        "activity_label": "Baking",
        "ctx": "She bakes. She",
        "endings": ["eats.", "runs.", "flies.", "é."],
    }
    record |= {"label": 3}
    kinds = [(domain, source) for domain in ("indomain", "zeroshot") for source in ("activitynet~v_1", "wikihow~1")]
    records = [record | {"split_type": domain, "source_id": source} for domain, source in kinds]
    hidden = [{name: value for name, value in each.items() if name != "label"} for each in records]
    url = "https://raw.githubusercontent.com/rowanz/hellaswag/master/data/hellaswag"
    texts = {"train": lines(*records[:2]), "val": lines(*records), "test": lines(*hidden)}
    return {f"{url}_{name}.jsonl": text.encode() for name, text in texts.items()}


def openbookqa():
    choices = [
        {"text": text, "label": label} for text, label in zip(("sun", "sea", "sky", "soil"), "ABCD", strict=True)
    ]
    record = {
        "id": "7-1",
        "question": {"stem": "Plants need", "choices": choices},
        "fact1": "light helps",
        "humanScore": "1.00",
    }
    record |= {"clarity": "1.50", "turkIdAnonymized": "b356", "answerKey": "C"}
    folder = "OpenBookQA-V1-Sep2018/Data/Additional"
    members = {f"{folder}/{name}_complete.jsonl": lines(record) for name in ("train", "dev", "test")}
    return {"https://s3-us-west-2.amazonaws.com/ai2-website/data/OpenBookQA-V1-Sep2018.zip": zipped(**members)}


def sentiment140():
    rows = [
        ("0", "17", "Mon Apr 06", "NO_QUERY", "ann", "so sad, caf\xe9 shut"),
        ("4", "18", "Mon", "NO_QUERY", "bob", "yes"),
    ]
    quoted = ["".join(",".join(f'"{value}"' for value in row) + "\n").encode("latin-1") for row in rows]
    test = b'"2","3","Mon May 11","kindle","cy","hm"\n'
    members = {"training.1600000.processed.noemoticon.csv": b"".join(quoted), "testdata.manual.2009.06.14.csv": test}
    return {"http://cs.stanford.edu/people/alecmgo/trainingandtestdata.zip": zipped(**members)}


def yelp_polarity_reviews():
    text = '"1","Cold food.\\nNever again ""ever""."\n"2","Good."\n'
    folder = "yelp_review_polarity_csv"
    archive = tarred(**{f"{folder}/train.csv": text, f"{folder}/test.csv": text})
    return {"https://s3.amazonaws.com/fast-ai-nlp/yelp_review_polarity_csv.tgz": archive}


GLUE = [{"sentence": 'The ca"t naïvely sat.', "label": 1, "idx": 0}, {"sentence": "Cat the sat.", "label": 0, "idx": 1}]
JAR = {"id": "x", "goal": "Open a jar", "sol1": "Turn the lid.", "sol2": "Turn the jar's base."}
PAWS = [
    {"sentence1": "In 1900 A met B .", "sentence2": "In 1900 B met A .", "label": 0},
    {"sentence1": "A and B .", "sentence2": "B and A .", "label": 1},
]
WATER = {"question": "is water wet", "title": "Water", "passage": "Water is wet."}
COSMOS = {"id": "a##1", "question": "Why?", "answer0": "Rain", "answer1": "Snow", "answer2": "Sun"}
COSMOS |= {"context": "It rained, a lot.", "answer3": "Wind"}
ANN = {
    "paragraph": "Ann ran.",
    "question": "Who?",
    "answer": "Ann",
    "idx": {"paragraph": 5, "question": 7, "answer": 0},
}
BOB = ANN | {"answer": "Bob", "idx": {"paragraph": 5, "question": 7, "answer": 1}}
BANK = {"word": "bank", "sentence1": "A bank.", "sentence2": "My bank.", "idx": 3}
BANK |= {"start1": 2, "end1": 6, "start2": 3, "end2": 7}
BAKES = {"context": "She bakes. She", "endings": ["eats.", "runs.", "flies.", "é."], "activity_label": "Baking"}
BAKES |= {"split_type": "zeroshot", "source_id": "wikihow~1"}
PLANTS = {
    "question": {"stem": "Plants need", "choice_A": "sun", "choice_B": "sea", "choice_C": "sky", "choice_D": "soil"},
    "answerKey": 2,
    "fact1": "light helps",
    "humanScore": 1.0,
    "clarity": 1.5,
    "turkIdAnonymized": "b356",
}
TWEETS = [
    {"polarity": 0, "date": "Mon Apr 06", "query": "NO_QUERY", "user": "ann", "text": "so sad, café shut"},
    {"polarity": 4, "date": "Mon", "query": "NO_QUERY", "user": "bob", "text": "yes"},
]
NEUTRAL = {"polarity": 2, "date": "Mon May 11", "query": "kindle", "user": "cy", "text": "hm"}
YELP = [{"text": r'Cold food.\nNever again ""ever"".', "label": 0}, {"text": "Good.", "label": 1}]
MCTACO = {"sentence": "He ate.", "question": "How long?"}
MCTACO_ROWS = [
    MCTACO | {"answer": "an hour", "label": 1, "category": 1},
    MCTACO | {"answer": "a year", "label": 0, "category": 2},
]
ANLI = {"uid": "u", "context": "Ann ran.", "hypothesis": "Ann moved.", "label": 0}

# Name -> its builder's files; its version; what some of its splits hold, in any order.
BUILDERS = {
    "glue/cola": (cola, "glue/cola/2.0.0", {"train": GLUE, "test": [{"sentence": "Sat?", "label": -1, "idx": 0}]}),
    "glue/sst2": (
        sst2,
        "glue/sst2/2.0.0",
        {
            "validation": [
                {"sentence": "a fine film ", "label": 1, "idx": 0},
                {"sentence": "a dull film ", "label": 0, "idx": 1},
            ]
        },
    ),
    "piqa": (
        piqa,
        "piqa/1.0.0",
        {"train": [JAR | {"label": 0}, JAR | {"label": 1}], "validation": [JAR | {"label": 1}]},
    ),
    "paws_wiki": (paws_wiki, "paws_wiki/labeled_final_tokenized/1.1.0", {"train": PAWS, "test": PAWS}),
    "imdb_reviews": (
        imdb_reviews,
        "imdb_reviews/plain_text/1.0.0",
        {
            "train": [{"text": "Dull.<br /><br />Très dull.", "label": 0}, {"text": "Fine.", "label": 1}],
            "unsupervised": [{"text": "Seen.", "label": -1}],
        },
    ),
    "bool_q": (bool_q, "bool_q/1.0.0", {"train": [WATER | {"answer": True}, WATER | {"answer": False}]}),
    "mctaco": (mctaco, "mctaco/1.0.0", {"test": MCTACO_ROWS}),
    "cosmos_qa": (
        cosmos_qa,
        "cosmos_qa/1.0.0",
        {"train": [COSMOS | {"label": 3}], "test": [COSMOS | {"context": '"It rained, a lot."', "label": -1}]},
    ),
    "super_glue/multirc": (
        multirc,
        "super_glue/multirc/1.0.2",
        {"train": [ANN | {"label": 1}, BOB | {"label": 0}], "test": [ANN | {"label": -1}, BOB | {"label": -1}]},
    ),
    "super_glue/wic": (
        wic,
        "super_glue/wic/1.0.2",
        {"train": [BANK | {"label": 1}], "test": [BANK | {"label": -1}]},
    ),
    "anli/r2": (anli, "anli/r2/0.1.0", {"train": [ANLI, ANLI | {"uid": "v", "label": 2}], "validation": [ANLI]}),
    "hellaswag": (
        hellaswag,
        "hellaswag/1.1.0",
        {"validation_ood_wikihow": [BAKES | {"label": 3}], "test_ood_wikihow": [BAKES | {"label": -1}]},
    ),
    "openbookqa": (openbookqa, "openbookqa/0.1.0", {"train": [PLANTS], "test": [PLANTS]}),
    "sentiment140": (sentiment140, "sentiment140/1.0.0", {"train": TWEETS, "test": [NEUTRAL]}),
    "yelp_polarity_reviews": (yelp_polarity_reviews, "yelp_polarity_reviews/0.2.0", {"train": YELP, "test": YELP}),
}


@pytest.fixture
def web(tmp_path, monkeypatch):
    """A network that has these files of a data set alone; TFDS checks them as it checks the real ones."""
    import requests
    from tensorflow_datasets.core.download import checksums

    pytest.importorskip("importlib_resources")  # TFDS cannot prepare its own data sets without
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    sources.tfds._register_builders()
    found = {}

    def get(session, url, **_):
        if url not in found:
            raise requests.ConnectionError("Name or service not known", request=SimpleNamespace(url=url))
        content = found[url]
        if isinstance(content, int):
            return contextlib.nullcontext(SimpleNamespace(url=url, headers={}, status_code=content))
        response = SimpleNamespace(
            url=url, headers={}, status_code=200, iter_content=lambda chunk_size: iter([content])
        )
        return contextlib.nullcontext(response)

    def serve(name, files):
        known = {url: (len(content), hashlib.sha256(content).hexdigest()) for url, content in files.items()}
        infos = {
            url: checksums.UrlInfo(tfds.core.utils.Size(size), digest, None) for url, (size, digest) in known.items()
        }
        monkeypatch.setattr(tfds.builder_cls(name.partition("/")[0]), "url_infos", infos)
        found.update(files)
        return found

    monkeypatch.setattr(requests.Session, "get", get)
    return serve


def read(reference):
    return list(sources.parse(f"tfds:{reference}").records())


def unordered(records):
    return sorted(records, key=lambda record: json.dumps(record, sort_keys=True))


@pytest.mark.parametrize("name", BUILDERS)
def test_builder_prepares_its_own_format_without_tensorflow(web, name):
    make, version, splits = BUILDERS[name]
    web(name, make())
    for split, expected in splits.items():
        records = read(f"{name}:{split}")
        assert unordered(records) == unordered(expected)
        prepared = Tfds(name, split).prepare()
        assert (prepared.name, prepared.split, prepared.format) == (version, split, "array_record")
        assert prepared.size == len(expected)


@pytest.mark.parametrize("name", BUILDERS)
def test_tfrecord_files_hold_the_same(web, tmp_path, monkeypatch, name):
    pytest.importorskip("google_crc32c")
    make, _, splits = BUILDERS[name]
    web(name, make())
    expected = {split: read(f"{name}:{split}") for split in splits}
    monkeypatch.setenv("TFDS_DATA_DIR", str(as_tfrecord(tmp_path / "tfds")))
    for split, records in expected.items():
        assert read(f"{name}:{split}") == records
        assert Tfds(name, split).prepare().format == "tfrecord"


def crc32c(data):
    """Bit by bit, so that the package's own is checked against something else."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def masked(data):
    return ((crc32c(data) >> 15 | crc32c(data) << 17) + 0xA282EAD8) & 0xFFFFFFFF


def framed(data):
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked(length)) + data + struct.pack("<I", masked(data))


def as_tfrecord(folder):
    """Rewrites what was prepared as a prepared folder of tfrecord files."""
    from array_record.python.array_record_data_source import ArrayRecordDataSource

    for path in list(folder.rglob("*.array_record-*")):
        source = ArrayRecordDataSource([str(path)])
        path.with_name(path.name.replace("array_record", "tfrecord")).write_bytes(
            b"".join(framed(source[i]) for i in range(len(source)))
        )
        path.unlink()
    for path in folder.rglob("dataset_info.json"):
        path.write_text(path.read_text().replace('"array_record"', '"tfrecord"'))
    return folder


@pytest.mark.parametrize(
    ("reference", "name", "split"),
    [
        ("piqa", "piqa", "train"),
        ("piqa:", "piqa", "train"),
        ("glue/cola", "glue/cola", "train"),
        ("glue/cola:validation", "glue/cola", "validation"),
        ("glue/cola:train+validation", "glue/cola", "train+validation"),
        ("glue/cola:train[:100]", "glue/cola", "train[:100]"),
        ("glue/cola:train[10%:20%]+test[-5:]", "glue/cola", "train[10%:20%]+test[-5:]"),
        ("glue/cola:2.0.0", "glue/cola:2.0.0", "train"),
        ("glue/cola:2.*.*:test[5:]", "glue/cola:2.*.*", "test[5:]"),
        ("huggingface:org__name", "huggingface:org__name", "train"),
        ("huggingface:org__name:test", "huggingface:org__name", "test"),
        ("huggingface:org__name/config", "huggingface:org__name/config", "train"),
        ("huggingface:org__name/config:train[:100]", "huggingface:org__name/config", "train[:100]"),
        ("huggingface:org__name/config:1.0.0:all", "huggingface:org__name/config:1.0.0", "all"),
        ("else:name/config:test", "else:name/config", "test"),
    ],
)
def test_reference(reference, name, split):
    assert split_reference(reference) == (name, split)
    assert sources.parse(f"tfds:{reference}") == Tfds(name, split)


@pytest.mark.parametrize("reference", ["", ":train", "glue/cola:train:test", "huggingface:"])
def test_reference_that_is_none(reference):
    with pytest.raises(UserError, match=f"'tfds:{reference}' is not tfds:NAME or tfds:NAME:SPLIT"):
        sources.parse(f"tfds:{reference}")


@pytest.fixture
def numbers(tmp_path, monkeypatch):
    """A data set that TFDS has no code of: 40 records of `train` and 6 of `test`, in two files each."""

    class Numbers(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.2.3")
        url_infos: ClassVar[dict] = {}  # TFDS would look for a package around this class

        def _info(self):
            features = {"number": np.int64, "words": tfds.features.Sequence({"word": tfds.features.Text()})}
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, _):
            return {"train": self._generate_examples(40), "test": self._generate_examples(6)}

        def _generate_examples(self, count):
            for i in range(count):
                yield i, {"number": i, "words": [{"word": f"wört {j}"} for j in range(i % 3)]}

    folder = tmp_path / "tfds"
    monkeypatch.setenv("TFDS_DATA_DIR", str(folder))
    config = tfds.download.DownloadConfig(num_shards=2)
    builder = Numbers(data_dir=folder, file_format="array_record")
    builder.download_and_prepare(download_config=config)
    return folder


@pytest.fixture(params=["array_record", "tfrecord"])
def either(request, numbers):
    """The folder in each format."""
    if request.param == "array_record":
        return numbers
    pytest.importorskip("google_crc32c")
    return as_tfrecord(numbers)


def shard(folder, split="train", number=0):
    return sorted(folder.rglob(f"*-{split}.*"))[number]


def test_prepared_folder_needs_no_code(either):
    opened = sources.parse("tfds:numbers:train").open()
    assert (opened.available, opened.is_whole) == (40, True)
    assert opened.origin.describe() == "TFDS numbers:train at 1.2.3"
    records = list(opened.records)
    assert sorted(record["number"] for record in records) == list(range(40))
    assert next(record for record in records if record["number"] == 2)["words"] == {"word": ["wört 0", "wört 1"]}
    assert sources.parse("tfds:numbers:train").describe() == "TFDS numbers"


@pytest.mark.parametrize(
    ("split", "first", "last"), [("train[:7]", 0, 7), ("train[15:25]", 15, 25), ("train[50%:]", 20, 40), ("all", 0, 46)]
)
def test_parts_of_splits(either, split, first, last):
    everything = read("numbers:train+test")
    assert len(everything) == 46
    assert read(f"numbers:{split}") == everything[first:last]
    assert Tfds("numbers", split).prepare().size == last - first


def test_sample_is_the_same_in_both_formats(numbers):
    pytest.importorskip("google_crc32c")
    opened = sources.parse("tfds:numbers").open(at_most=15)
    assert (opened.available, opened.is_whole) == (40, False)
    sample = list(opened.records)
    assert 5 < len(sample) < 25
    as_tfrecord(numbers)
    assert list(sources.parse("tfds:numbers").open(at_most=15).records) == sample
    assert sources.parse("tfds:numbers").open(at_most=40).is_whole


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-30], "is cut off: it ends within record 3 of 3"),
        (lambda content: b"", "is cut off: it ends after 0 of 3 records"),
        (lambda content: content[:5], "is cut off: it ends after 0 of 3 records"),
        (lambda content: b"\1" + content[1:], "is damaged: the length of record 1 does not fit its checksum"),
        (lambda content: content[:-10] + b"?" + content[-9:], "is damaged: record 3 does not fit its checksum"),
        (lambda content: content + framed(b""), "holds more than its 3 records"),
        (lambda content: framed(b"no example") * 3, "holds a record that is no numbers/1.2.3"),
    ],
)
def test_damaged_tfrecord_is_one_line(numbers, damage, message):
    pytest.importorskip("google_crc32c")
    path = shard(as_tfrecord(numbers), "test")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=message) as caught:
        read("numbers:test")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", [lambda content: content[:-1000], lambda content: b"", lambda content: b"?" * 70000])
def test_damaged_array_record_is_one_line(numbers, damage):
    path = shard(numbers, "test")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=path.name) as caught:
        read("numbers:test")
    assert "\n" not in str(caught.value)


def test_missing_file_is_one_line(either):
    shard(either).unlink()
    with pytest.raises(UserError, match=r"cannot read .*train.*00000-of-00002.*No such file"):
        read("numbers:train")


def test_other_formats_are_named(numbers):
    for path in numbers.rglob("dataset_info.json"):
        path.write_text(path.read_text().replace('"array_record"', '"riegeli"'))
    with pytest.raises(UserError, match=r"TFDS numbers/1\.2\.3 is prepared as riegeli; one of array_record, tfrecord"):
        read("numbers")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("gluee/cola", "TFDS has no data set 'gluee/cola'; did you mean 'glue'?"),
        ("hella_swag", "TFDS has no data set 'hella_swag'; did you mean 'hellaswag'?"),
        ("zzzzzzzz", "TFDS has no data set 'zzzzzzzz', and its folder holds none of that name"),
        ("glue/colaa", "unknown config of TFDS glue 'colaa'; did you mean 'cola'?"),
        ("glue/cola:9.9.9", "TFDS cannot find 'glue/cola:9.9.9': Dataset glue cannot be loaded at version 9.9.9"),
        ("two words", "'two words' is no name of TFDS"),
        ("numbers:9.9.9", "TFDS has no data set 'numbers:9.9.9'"),
        ("numbers:trian", "TFDS numbers/1.2.3 has no split 'trian' (Unknown split 'trian'"),
        ("numbers:train[", "TFDS numbers/1.2.3 has no split 'train['"),
        ("numbers:train[:x]", "TFDS numbers/1.2.3 has no split 'train[:x]'"),
        ("huggingface:org__name", "'huggingface:org__name' needs `pip install datasets`; hf:ORG/NAME reads"),
    ],
)
def test_what_is_not_there_is_one_line(numbers, monkeypatch, reference, message):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError) as caught:
        read(reference)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_network_that_is_not_there(web):
    web("piqa", {})
    with pytest.raises(UserError, match=r"cannot prepare 'piqa/1\.0\.0': no connection to storage.googleapis.com \("):
        read("piqa")


def test_source_that_is_gone(web):
    files = hellaswag()
    found = web("hellaswag", files)
    gone = next(iter(files))
    found[gone] = 404
    with pytest.raises(
        UserError, match=rf"cannot prepare 'hellaswag/1\.1\.0': {gone} answers HTTP 404; .*TFDS_DATA_DIR"
    ):
        read("hellaswag")
    found.update(files)
    assert len(read("hellaswag")) == 2  # nothing is left of the failure


def test_file_that_is_another(web):
    found = web("piqa", piqa())
    url = next(iter(found))
    found[url] += b"?"
    with pytest.raises(UserError, match=rf"cannot prepare 'piqa/1\.0\.0': {url} is not the file that TFDS .* knows"):
        read("piqa")


def test_archive_that_is_none(web):
    web("piqa", dict.fromkeys(piqa(), b"not a zip"))
    with pytest.raises(
        UserError, match=r"cannot prepare 'piqa/1\.0\.0': Error while extracting .*not a zip file"
    ) as caught:
        read("piqa")
    assert "\n" not in str(caught.value)


def test_more_than_memory_holds_is_shuffled_without_tensorflow(web, monkeypatch):
    from tensorflow_datasets.core import shuffle

    web("bool_q", bool_q())
    monkeypatch.setattr(shuffle, "MAX_MEM_BUFFER_SIZE", 0)
    assert len(read("bool_q")) == 2


def test_stand_in_has_nothing_else(monkeypatch):
    module = ModuleType("lent")
    without_tensorflow.lend(module)
    assert not hasattr(module, "tf")
    module.tf = None
    monkeypatch.setattr(without_tensorflow.importlib.util, "find_spec", lambda name: object())
    without_tensorflow.lend(module)
    assert module.tf is None
    monkeypatch.setattr(without_tensorflow.importlib.util, "find_spec", lambda name: None)
    without_tensorflow.lend(module)
    assert module.tf.int32 is np.int32
    with pytest.raises(ImportError):
        module.tf.train.Example()


def test_more_of_tensorflow_than_that_is_named(web, monkeypatch):
    web("sentiment140", sentiment140())
    monkeypatch.setattr(tfds.builder_cls("sentiment140"), "_generate_examples", lambda self, path: [lent().constant(0)])
    message = r"cannot prepare 'sentiment140/1\.0\.0': that needs TensorFlow: `pip install 'w2s-jax\[tfds-prepare\]'`"
    with pytest.raises(UserError, match=message):
        read("sentiment140")


def lent():
    module = ModuleType("lent")
    module.tf = None
    without_tensorflow.lend(module)
    return module.tf or pytest.skip("TensorFlow is installed")


def test_extras_that_are_not_installed(numbers, monkeypatch):
    pytest.importorskip("google_crc32c")
    as_tfrecord(numbers)
    monkeypatch.setitem(sys.modules, "google_crc32c", None)
    with pytest.raises(UserError, match=r"pip install 'w2s-jax\[tfds\]'"):
        read("numbers")
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(UserError, match=r"pip install 'w2s-jax\[tfds\]'"):
        read("numbers")


def test_bucket_is_read_through_gcsfs(numbers, monkeypatch):
    """The bucket is a folder here; all but gcsfs itself is as with one."""
    from etils.epath import backend
    from fsspec.implementations.local import LocalFileSystem

    pytest.importorskip("google_crc32c")
    expected = read("numbers")
    as_tfrecord(numbers)

    class Bucket(LocalFileSystem):
        protocol = ("gcs", "gs")

        @classmethod
        def _strip_protocol(cls, path):
            return str(path).replace("gs://bucket", str(numbers))

    monkeypatch.setattr(backend._FileSystemSpecBackend, "fs", lambda self, path: Bucket())
    monkeypatch.setenv("TFDS_DATA_DIR", "gs://bucket")
    assert read("numbers") == expected
    with pytest.raises(UserError, match=r"gs://bucket holds no piqa/1\.0\.0"):
        read("piqa")


@pytest.mark.skipif(importlib.util.find_spec("gcsfs") is not None, reason="gcsfs is installed")
def test_bucket_without_gcsfs(monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", "gs://bucket")
    with pytest.raises(UserError, match="TFDS cannot find 'piqa': gs:// needs `pip install gcsfs`"):
        read("piqa")


# What each task makes of the files above: text and label, in any order.
FROM_TFDS = {
    "anli_r2": {"Ann ran.\n\nHypothesis: Ann moved.\n\nDoes the premise entail the hypothesis?": 1},
    "boolq": {"Passage: Water is wet.\nQuestion: Is water wet?": 1},  # as two of its three annotations have it
    "cola": {"Cat the sat.": 0, 'The ca"t naïvely sat.': 1},
    "cosmos_qa": {
        "It rained, a lot.\nQuestion: Why?\nAnswer: Wind": 1,
        "It rained, a lot.\nQuestion: Why?\nAnswer: Snow": 0,
    },
    "hellaswag": {"Text: She bakes. She\nContinuation: eats.": 0, "Text: She bakes. She\nContinuation: é.": 1},
    "imdb": {"Fine.": 1, "Fine again.": 1, "Dull.  Très dull.": 0},
    "mc_taco": {f"He ate.\nQuestion: How long?\nAnswer: {row['answer']}": row["label"] for row in MCTACO_ROWS},
    "multirc": {"Ann ran.\nQuestion: Who?\nAnswer: Ann": 1, "Ann ran.\nQuestion: Who?\nAnswer: Bob": 0},
    "openbookqa": {"Question: Plants need\nAnswer: sky": 1, "Question: Plants need\nAnswer: sun": 0},
    "paws": {
        "Sentence 1: In 1900 A met B .\nSentence 2: In 1900 B met A .\n\nDo they mean the same?": 0,
        "Sentence 1: A and B .\nSentence 2: B and A .\n\nDo they mean the same?": 1,
    },
    "piqa": {"Goal: Open a jar\nAnswer: Turn the lid.": 0, "Goal: Open a jar\nAnswer: Turn the jar's base.": 1},
    "sst2": {"a dull film": 0, "a fine film": 1},
    "twitter_sentiment": {"so sad, café shut": 0, "yes": 1},
    "wic": {'Sentence 1: A bank.\nSentence 2: My bank.\n\nDoes "bank" mean the same in both?': 1},
    "yelp_polarity": {"Good.": 1, 'Cold food.\nNever again "ever".': 0},
}


def test_every_data_set_of_tfds_has_a_task_and_every_such_task_is_tested():
    known = {name for name, task in tasks.TASKS.items() if "tfds" in task.other_sources and task.candidates == 1}
    assert known == set(FROM_TFDS)
    assert {tasks.get(name).other_sources["tfds"].name for name in known} == set(BUILDERS)


@pytest.mark.parametrize("task", FROM_TFDS)
def test_a_task_reads_what_tfds_prepares(web, task):
    source = tasks.get(task).other_sources["tfds"]
    web(source.name, BUILDERS[source.name][0]())
    found, reading = tasks.read_task(tasks.get(task), TaskConfig(task, "tfds"))
    assert {example.text: example.label for example in found} == FROM_TFDS[task]
    assert reading.origin.name.startswith(f"TFDS {source.name}")
    assert reading.origin.version
    assert reading.unlabelled == (1 if task == "twitter_sentiment" else 0), "a neutral tweet is neither"
