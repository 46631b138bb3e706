prediction = llm.respond("How tall is a giraffe?")
