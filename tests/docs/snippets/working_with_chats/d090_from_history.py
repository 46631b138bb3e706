chat = Chat.from_history(
    {
        "messages": [
            {"role": "system", "content": "You know every animal of the savanna."},
            {"role": "user", "content": "How tall is a giraffe?"},
        ]
    }
)
