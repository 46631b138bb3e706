print("Model:", result.model_info.display_name)
print("Tokens:", result.stats.predicted_tokens_count)
print("First token after (seconds):", result.stats.time_to_first_token_sec)
print("Stopped because of:", result.stats.stop_reason)
