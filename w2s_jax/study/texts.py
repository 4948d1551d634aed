"""What participants read before and after the questions, unless a study has texts of its own.

An empty line begins a new paragraph; other line breaks are spaces.
"""

CONSENT = """
You are invited to take part in a study of how well people answer questions with and without the help of a computer
program.

You will answer multiple-choice questions. We record your answers, how sure you are, how long you take, and what you
write, under a number and not under your name. Please write nothing about yourself.

Taking part is voluntary. You can stop at any time by closing this page.
"""

INSTRUCTIONS = """
Each question has several options, of which exactly one is right. Choose one, and say how sure you are that it is right.

Say it as honestly as you can: of the answers of which you are 75% sure, three out of four should be right. The lowest
number is a pure guess.

Time is limited. It begins when you open a question, and it goes on if you reload or close the page. When it is over,
what you have chosen by then counts as your answer, if you have also said how sure you are. Between questions you can
take a break as long as you like.

Please do not look anything up.
"""

FAREWELL = """
That was the last question. Your answers are saved. Thank you for taking part; you can close this page.
"""
