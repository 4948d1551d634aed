"""Sandwiching studies: people, or models that play them, answer questions alone and with an assistant that knows more.

`config` describes a study; `questions`, `protocols` and `assignment` say what is asked, how it is talked about, and by
whom; `database`, `progress`, `live` and `server` run it; `assistants` are what a participant talks with, `participants`
the simulated ones, `unaided` the model that answers alone. `findings` is what the answers say, `bowman` the paper's
own figures. The key stands apart from the questions: nothing that a participant or an assistant sees is made from it.
"""
