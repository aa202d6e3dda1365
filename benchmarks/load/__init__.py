"""Open-loop load of our own: calls go out when they are due, whatever became of others, and answers are checked.

It reads ghz's configurations and writes ghz's reports, so that either runs for the other and one reader shows both:
`scenario` says what is asked, `schedule` when, `payloads` makes the messages, `generator` sends them, `checking` judges
the answers, `report` is what came of it, `showing` tells people.
"""
