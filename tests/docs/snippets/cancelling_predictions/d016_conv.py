import lmstudio as lms

model = lms.llm()

prediction_stream = model.respond_stream("Count the stars.")
cancelled = False
for fragment in prediction_stream:
    if ...:  # the condition for cancelling
        cancelled = True
        prediction_stream.cancel()
        # The loop goes on and ends by itself, so that there is a result of what was said.

if not cancelled:
    print(prediction_stream.result())
