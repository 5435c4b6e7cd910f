"""A recipe that an owner gets for problems and a model, with every number's reason.

`making` is the way from a request to a file. `subject` vets what is asked, `trial` has the model
answer some problems, `numbers` chooses what follows from both, `writing` has the words.
"""
