"""What three other systems do for their users, row by row, and what shows that this package does it.

R0 is a client for OpenAI-compatible completions in Python, R1 an SDK in PHP, R2 a gateway in Rust. P has the points
that were set for `lmstudio.http` and the gateway as a whole, H a rule of the HTTP surfaces, F lines of a list of all
features.

Each row names tests (`file::function`, below `tests`), pages with a text that is in them (`page: text`), or says in a
sentence what is different here on purpose (`Differs: ...`). `test_reference_rows.py` looks whether all of that is true.
"""

from __future__ import annotations

from typing import Final

from docs.feature_rows import NAMESPACES, PLUGINS

COUNTS: Final = {"R0": 48, "R1": 52, "R2": 65}
"""How many rows each system has: R0.1 to R0.48, and so on."""
OTHER: Final = ("H28", "P1", "P2", "P3", "P4", "P5", "P6", "P7")
FEATURES: Final = (
    *range(229, 294),
    318,
    *(294, 295, 296, 298, 300, 303, 304, 305, 306, 310, 311, 312, 319, 320, 321, 322, 323, 324, 325, 326, 327, 328),
    *(329, 330, 331, 332, 333, 334, 335),
)

CLIENT: Final = "http/test_lmstudio_client.py::test_"
HEALTH: Final = "http/test_health.py::test_"
SERVER: Final = "http/test_openai_server.py::test_"
STREAMS: Final = "http/test_openai_streams.py::test_"
ERRORS: Final = "http/test_errors_http.py::test_"
RETRIES: Final = "http/test_retries_http.py::test_"
TIMEOUTS: Final = "http/test_timeouts_http.py::test_"
TRANSPORT: Final = "http/test_transport_http.py::test_"
HTTP_SETTINGS: Final = "http/test_http_settings.py::test_"
PROGRAMS: Final = "http/test_reference_programs.py::test_"
SSE: Final = "http/test_sse.py::test_"
REPLIES: Final = "http/test_openai_models.py::test_"
SETTINGS: Final = "unit/test_client_settings.py::test_"
MESSAGES: Final = "unit/test_contract_messages.py::test_"
TREE: Final = "unit/test_error_tree.py::test_"
NATIVE: Final = "surface/async/test_"
CHATS: Final = "gateway/test_chats.py::test_"
MODELS: Final = "gateway/test_models.py::test_"
OUTAGES: Final = "gateway/test_outages.py::test_"
CLIENTS: Final = "gateway/test_clients.py::test_"
GATEWAY: Final = "gateway/test_gateway_settings.py::test_"
COMMAND: Final = "gateway/test_gateway_command.py::test_"
DEPLOY: Final = "gateway/test_gateway_deploy.py::test_"
NUMBERS: Final = "gateway/test_gateway_telemetry.py::test_"
ASKING: Final = "cli/test_asking.py::test_"
CONTRACT: Final = "testing/test_one_contract.py::test_"

R0: Final = {
    1: (f"{CLIENT}the_address_is_that_of_lm_studio_by_default", f"{PROGRAMS}program_of_the_completion_client"),
    2: (f"{CLIENT}models_are_listed", f"{SERVER}models_are_listed_by_what_is_asked_for"),
    3: (f"{CLIENT}a_completion_is_created_from_a_request", f"{SERVER}a_text_goes_on"),
    4: (f"{CLIENT}a_request_has_all_parameters", f"{CLIENT}a_response_is_written_as_it_was_read"),
    5: (f"{CLIENT}pauses_double_up_to_a_limit_and_vary", f"{NATIVE}retries.py::test_the_number_of_attempts_is_limited"),
    6: (f"{TREE}every_error_has_a_kind", f"{CLIENT}the_words_of_error_types_are_stable"),
    7: (
        "docs/test_reference_rows.py::test_the_package_says_that_it_has_types",
        'tools/check_types.py: "--verifytypes", "lmstudio"',
    ),
    8: ("docs/test_reference_rows.py::test_the_client_has_enough_tests_that_need_no_server",),
    9: ("tests/http/test_lmstudio_client.py: python -m pytest tests/http/test_lmstudio_client.py -v",),
    10: (f"{PROGRAMS}program_of_the_completion_client",),
    11: (
        f"{CLIENT}a_program_lists_completes_and_closes",
        f"{TRANSPORT}a_closed_client_says_so_and_can_be_opened_again",
    ),
    12: (f"{CLIENT}models_are_listed",),
    13: (f"{CLIENT}a_completion_is_created_from_a_request",),
    14: (f"{CLIENT}a_completion_is_created_from_a_model_and_a_text",),
    15: (f"{CLIENT}health_tells_of_a_server_that_is_ready", f"{HEALTH}the_embedded_server_is_asked_about_its_health"),
    16: (f"{CLIENT}a_program_lists_completes_and_closes", f"{TRANSPORT}closing_ends_calls_in_other_threads"),
    17: (f"{CLIENT}the_address_is_that_of_lm_studio_by_default", f"{CLIENT}the_address_may_be_given_in_several_ways"),
    18: (f"{CLIENT}a_key_is_sent_as_a_bearer_token_and_not_shown", f"{CLIENT}no_key_is_sent_where_there_is_none"),
    19: (
        f"{HTTP_SETTINGS}without_settings_the_defaults_count",
        f"{TIMEOUTS}a_reply_that_does_not_come",
        f"{NATIVE}timeouts.py::test_limits_of_a_call_go_before_those_of_its_client",
    ),
    20: (f"{CLIENT}the_number_of_retries_is_configurable", f"{RETRIES}the_client_of_r0_tries_three_times_more"),
    21: (f"{CLIENT}functions_share_a_client", "surface/test_convenience.py::test_models_of_the_default_client"),
    22: (f"{CLIENT}functions_share_a_client", f"{CLIENT}the_shared_client_is_as_the_environment_says"),
    23: (f"{CLIENT}retries_have_the_documented_defaults", f"{CLIENT}there_are_three_retries_by_default"),
    24: (f"{CLIENT}pauses_double_up_to_a_limit_and_vary", f"{PROGRAMS}program_of_the_completion_client"),
    25: (f"{RETRIES}pauses_double_and_chance_shortens_them",),
    26: (f"{TRANSPORT}a_connection_is_used_again", f"{SERVER}a_client_of_httpx_is_used_and_left_open"),
    27: (f"{CLIENT}a_model_is_read_with_what_is_there",),
    28: (f"{CLIENT}a_request_is_written_without_what_is_not_set", f"{CLIENT}a_request_has_all_parameters"),
    29: (f"{CLIENT}a_request_has_all_parameters", f"{REPLIES}the_keywords_are_the_members_of_the_request"),
    30: (f"{CLIENT}a_response_is_read_with_its_parts",),
    31: (f"{CLIENT}a_response_is_read_with_its_parts",),
    32: (f"{CLIENT}a_response_is_read_with_its_parts",),
    33: (f"{TREE}every_error_has_a_message_and_outside_http_no_status", f"{CLIENT}a_status_has_its_type_of_error"),
    34: (f"{CLIENT}a_failure_without_a_reply_has_its_type_of_error", f"{ERRORS}a_name_that_nobody_knows"),
    35: (f"{CLIENT}an_error_with_a_status_of_success_is_an_error", f"{TREE}every_error_has_a_kind"),
    36: (f"{CLIENT}a_failure_without_a_reply_has_its_type_of_error", f"{TIMEOUTS}a_reply_that_does_not_come"),
    37: (f"{CLIENT}a_status_has_its_type_of_error", f"{ERRORS}each_status_has_its_class"),
    38: (f"{CLIENT}a_status_has_its_type_of_error", f"{ERRORS}too_many_requests"),
    39: (f"{CLIENT}a_status_has_its_type_of_error", f"{ERRORS}each_status_has_its_class"),
    40: (f"{CLIENT}a_status_has_its_type_of_error", f"{ERRORS}bad_input_is_refused_before_anything_is_sent"),
    41: (f"{TREE}every_error_has_a_kind",),
    42: (
        f"{CLIENT}a_request_is_written_without_what_is_not_set",
        f"{CLIENT}a_bad_argument_is_refused_at_once",
        f"{CLIENT}a_completion_is_created_from_a_request",
        f"{CLIENT}a_status_has_its_type_of_error",
        f"{CLIENT}a_status_that_passes_is_tried_again",
        f"{CLIENT}a_program_goes_on_after_an_error",
    ),
    43: ("examples/test_examples.py::test_the_http_example_shows_its_five_parts",),
    44: ("docs/http.md: # LM Studio over HTTP", "docs/http.md: ## Coming from another client"),
    45: (
        f"{PROGRAMS}program_of_the_completion_client",
        "README.md: pip install .",
        "Differs: there is no extra `http`, because the plain package has all that it needs.",
    ),
    46: (
        f"{HEALTH}a_missing_server_is_reported",
        f"{HEALTH}a_missing_model_is_reported",
        f"{HEALTH}a_server_that_is_none_of_these_is_not_healthy",
    ),
    47: (f"{CLIENT}a_completion_can_be_streamed", f"{SERVER}a_streamed_text_adds_up"),
    48: ("CONTRIBUTING.md: ## Tests", "CONTRIBUTING.md: **Types** are strict.", "CONTRIBUTING.md: **Errors** state"),
}

R1: Final = {
    1: (f"{SERVER}a_request_may_be_an_object_or_a_dict", f"{NATIVE}chat_completions.py::test_a_reply_is_that_of_http"),
    2: (
        f"{SERVER}a_stream_adds_up_to_the_reply_without_one",
        f"{NATIVE}chat_completions.py::test_chunks_are_those_of_http",
    ),
    3: (f"{SERVER}models_are_listed_by_what_is_asked_for", f"{HEALTH}all_is_well_with_lm_studio"),
    4: (f"{RETRIES}a_failure_that_may_pass_is_tried_again", f"{ERRORS}each_status_has_its_class"),
    5: (
        f"{SERVER}models_are_listed_by_what_is_asked_for",
        f"{SERVER}a_chat_is_answered_in_whatever_form_it_comes",
        f"{SERVER}a_text_goes_on",
        f"{SERVER}texts_are_embedded_in_their_order",
        f"{NATIVE}http_responses.py::test_response_from_keywords",
    ),
    6: (
        "docs/troubleshooting.md: LM Studio 0.3.6 or newer",
        f"{ASKING}ping_tells_times_version_and_what_is_loaded",
        f"{CLIENT}an_error_with_a_status_of_success_is_an_error",
        "Differs: no version is refused, as servers may be newer or older; what one of them lacks is a clear error.",
    ),
    7: (f"{HEALTH}a_missing_server_is_reported", "docs/troubleshooting.md: Start LM Studio and its server"),
    8: (
        f"{SERVER}a_request_may_be_an_object_or_a_dict",
        f"{SERVER}parameters_may_be_in_camel_case",
        f"{REPLIES}a_value_can_be_made_of_camel_case_and_of_snake_case",
        "Differs: keywords of methods and members of dicts may be in camelCase, arguments of the classes may not.",
    ),
    9: (f"{MESSAGES}messages_survive_a_chat_and_back", f"{MESSAGES}a_chat_survives_messages_and_back"),
    10: (f"{MESSAGES}a_role_may_be_its_word", f"{PROGRAMS}program_of_the_chat_client"),
    11: (f"{PROGRAMS}program_of_the_chat_client", f"{SERVER}a_request_may_be_an_object_or_a_dict"),
    12: (f"{PROGRAMS}program_of_the_chat_client", f"{CONTRACT}everything_answers_alike"),
    13: (f"{PROGRAMS}program_of_the_chat_client", f"{CONTRACT}everything_answers_alike"),
    14: (f"{CLIENT}models_are_listed", f"{CONTRACT}everything_answers_alike"),
    15: (
        f"{HEALTH}all_is_well_with_lm_studio",
        f"{NATIVE}chat_completions.py::test_health_tells_whether_the_server_answers",
    ),
    16: (f"{CONTRACT}everything_keeps_the_contract", f"{CONTRACT}everything_asynchronous_keeps_the_contract"),
    17: (
        f"{SERVER}a_client_of_httpx_is_used_and_left_open",
        f"{TRANSPORT}a_transport_of_the_user",
        f"{HTTP_SETTINGS}arguments_count_before_settings_and_these_instead_of_the_environment",
        f"{CLIENT}the_shared_client_is_as_the_environment_says",
    ),
    18: (
        f"{SETTINGS}every_variable_is_read",
        f"{HTTP_SETTINGS}without_settings_the_defaults_count",
        f"{NATIVE}discovery.py::test_the_environment_may_hold_the_address",
    ),
    19: (f"{HTTP_SETTINGS}every_variable_of_the_token_is_sent", f"{SETTINGS}the_first_variable_of_several_counts"),
    20: (f"{HTTP_SETTINGS}without_settings_the_defaults_count", f"{SETTINGS}every_variable_is_read"),
    21: (
        f"{HTTP_SETTINGS}without_settings_the_defaults_count",
        f"{SETTINGS}every_variable_is_read",
        f"{NATIVE}chosen_settings.py::test_the_time_to_connect_is_limited",
    ),
    22: (f"{RETRIES}how_often", f"{HTTP_SETTINGS}the_number_of_retries_may_come_from_the_environment"),
    23: (
        f"{TRANSPORT}a_certificate_that_is_not_accepted",
        f"{TRANSPORT}certificates_are_not_checked_on_demand",
        f"{NATIVE}tls.py::test_the_environment_can_switch_verification_off",
    ),
    24: (
        f"{SERVER}the_model_of_the_settings_is_used",
        f"{NATIVE}chosen_settings.py::test_the_default_model_is_loaded_where_a_call_names_none",
    ),
    25: (f"{PROGRAMS}program_of_the_chat_client", f"{SETTINGS}a_file_may_have_any_of_these_forms"),
    26: (
        f"{HTTP_SETTINGS}another_machine_without_a_token_is_refused_on_request",
        f"{NATIVE}chosen_settings.py::test_another_machine_without_a_token_is_refused_on_request",
        "Differs: the address decides, with require_token_for_remote, and not a variable of an application, APP_ENV.",
    ),
    27: (
        "docs/security.md: **Listen on this machine only.**",
        "server/test_serve.py::test_open_server_without_token_is_refused",
        "Differs: instead of a warning there is a refusal, by our own server; LM Studio's has settings of its own.",
    ),
    28: (
        "docs/security.md: Do not call a model's server from a web page.",
        f"{COMMAND}clients_need_the_token_and_nobody_sees_it",
    ),
    29: (
        f"{NATIVE}predictions.py::test_callbacks_of_a_stream_are_called_while_it_is_read",
        f"{SERVER}the_events_of_a_stream_are_its_text_and_the_whole",
    ),
    30: (
        f"{SERVER}the_events_of_a_stream_are_its_text_and_the_whole",
        f"{NATIVE}chat_completions.py::test_events_end_with_the_whole_reply",
    ),
    31: (f"{SERVER}models_are_listed_by_what_is_asked_for", f"{SERVER}the_publisher_is_an_owner_too"),
    32: (
        f"{SERVER}models_are_listed_by_what_is_asked_for",
        f"{HEALTH}models_are_ready_where_the_server_says_nothing_about_it",
        f"{NATIVE}chat_completions.py::test_models_are_listed_as_over_http",
    ),
    33: (
        f"{HEALTH}a_server_that_tells_its_health_is_believed",
        "Differs: this is get_health(); health_check() says what is missing, as R0's method of this name does.",
    ),
    34: (
        f"{HEALTH}a_server_that_tells_its_health_is_believed",
        f"{HEALTH}lm_studio_is_known_by_its_greeting",
        "gateway/test_health.py::test_healthy",
    ),
    35: (f"{CLIENT}a_failure_without_a_reply_has_its_type_of_error", f"{ERRORS}nobody_listens"),
    36: (
        f"{ERRORS}a_refused_parameter_is_named",
        f"{SERVER}a_bad_parameter_is_named_for_programs",
        f"{ERRORS}an_unknown_model",
        "Differs: a model that is not found has a class of its own, LMStudioModelNotFoundError, with near names.",
    ),
    37: ("unit/test_errors.py::test_every_error_can_be_caught_as_the_packages_own",),
    38: (
        f"{TREE}every_error_has_a_message_and_outside_http_no_status",
        f"{TREE}the_context_of_a_call_says_what_was_attempted_where",
    ),
    39: (f"{ERRORS}each_status_has_its_class", f"{HEALTH}a_missing_token_is_reported"),
    40: (f"{RETRIES}how_often", f"{RETRIES}pauses_double_and_chance_shortens_them"),
    41: (
        f"{RETRIES}a_request_without_a_reply_is_sent_again",
        f"{RETRIES}a_server_that_is_not_there_yet",
        f"{NATIVE}retries.py::test_a_server_that_comes_back_is_reached_by_the_same_call",
    ),
    42: (f"{HTTP_SETTINGS}without_settings_the_defaults_count", "docs/http.md: set `LM_STUDIO_TIMEOUT=120`"),
    43: (
        f"{HEALTH}the_embedded_server_is_asked_about_its_health",
        f"{CONTRACT}everything_answers_alike",
        "testing/test_fake_sdk.py::test_the_fixtures",
    ),
    44: ("pyproject.toml: fail_under = 95", "tox.ini: --fail-under 90 --include */lmstudio/gateway/*,*/lmstudio/cli/*"),
    45: (f"{ASKING}ping_tells_times_version_and_what_is_loaded", f"{ASKING}a_server_that_is_not_there_is_exit_code_1"),
    46: (f"{ASKING}models_are_rows_with_tabs_for_other_programs", f"{ASKING}the_list_can_be_written_to_a_file"),
    47: ("page/test_gateway_page.py::test_answer_is_shown_as_it_is_written", f"{MODELS}one_model_of_the_list"),
    48: (f"{PROGRAMS}first_words_of_a_stream_take_less_than_two_seconds", "benchmarks/README.md: `first_token.py`"),
    49: ("docs/troubleshooting.md: # When it does not work", f"{HEALTH}a_missing_model_is_reported"),
    50: ("docs/http.md: set `stream: true`", "docs/troubleshooting.md: a stream comes all at once"),
    51: ("CONTRIBUTING.md: python3 tools/run.py test", "CONTRIBUTING.md: fails below 95 %"),
    52: (
        "README.md: ## Use it",
        "docs/troubleshooting.md: # When it does not work",
        "docs/security.md: # Security",
    ),
}

R2: Final = {
    1: (f"{CHATS}whole_reply", f"{CLIENTS}openai_chat"),
    2: (
        f"{CHATS}stream_has_role_then_content_then_an_empty_delta_with_usage",
        f"{MODELS}answer_of_another_model_is_not_passed_on",
        f"{CHATS}parameters_reach_the_model",
    ),
    3: (
        f"{CHATS}parameters_reach_the_model",
        f"{CHATS}microstat_mode_is_another_spelling",
        f"{CLIENT}what_is_not_known_is_passed_on",
    ),
    4: (f"{MODELS}name_or_any_unique_part_of_it", f"{MODELS}models_are_loaded_just_in_time_if_that_is_wanted"),
    5: (
        "Differs: nothing is there to switch on, as a model of any format that LM Studio can load is used by its name.",
    ),
    6: (
        f"{GATEWAY}minimal_file_is_enough",
        "gateway/test_mock.py::test_it_answers",
        "gateway/test_http_provider.py::test_members_that_mean_nothing_here_pass_through",
    ),
    7: (f"{GATEWAY}full_file_says_everything_about_the_connection", f"{COMMAND}file_and_environment_are_read"),
    8: (f"{GATEWAY}minimal_file_is_enough", f"{MODELS}default_model_may_be_a_part_of_a_name"),
    9: (
        f"{MODELS}only_allowed_models_are_there",
        f"{SETTINGS}allowed_models",
        f"{NATIVE}chosen_settings.py::test_only_allowed_models_can_be_named",
    ),
    10: (f"{GATEWAY}minimal_file_is_enough", f"{OUTAGES}reply_that_takes_too_long_is_504_and_the_model_is_stopped"),
    11: (f"{GATEWAY}minimal_file_is_enough", f"{OUTAGES}studio_that_does_not_answer_a_connection_is_504"),
    12: (f"{GATEWAY}minimal_file_is_enough", f"{OUTAGES}idle_connection_is_closed_after_a_time_and_opened_again"),
    13: (f"{GATEWAY}minimal_file_is_enough", f"{OUTAGES}only_so_many_idle_connections_are_kept"),
    14: (
        f"{GATEWAY}minimal_file_is_enough",
        f"{GATEWAY}full_file_says_everything_about_the_connection",
        f"{GATEWAY}json_and_toml_mean_the_same_as_yaml",
    ),
    15: (f"{GATEWAY}environment_wins_over_the_file",),
    16: (f"{GATEWAY}environment_wins_over_the_file", f"{COMMAND}file_and_environment_are_read"),
    17: (f"{GATEWAY}environment_wins_over_the_file",),
    18: (f"{GATEWAY}environment_wins_over_the_file",),
    19: (f"{GATEWAY}environment_wins_over_the_file",),
    20: (f"{GATEWAY}environment_wins_over_the_file", f"{GATEWAY}option_wins_over_the_environment"),
    21: (f"{CHATS}whole_reply", f"{GATEWAY}minimal_file_is_enough"),
    22: (
        f"{CLIENTS}openai_models_and_embeddings",
        f"{MODELS}model_that_was_just_loaded_or_unloaded_is_seen",
        f"{MODELS}lists_show_downloaded_models_if_that_is_wanted",
    ),
    23: ("gateway/test_health.py::test_healthy", "gateway/test_health.py::test_studio_that_is_away_and_back"),
    24: (
        f"{MODELS}model_that_is_not_loaded_is_404_and_names_what_is",
        f"{MODELS}without_a_default_the_only_model_needs_no_name",
        "Differs: a request may leave it out where there is a default_model, or one model only.",
    ),
    25: (f"{CHATS}roles_reach_the_model", f"{CHATS}bad_parameters_are_refused_before_anything_is_sent"),
    26: (f"{CHATS}defaults_count_where_a_request_says_nothing", f"{CHATS}limit_ends_with_length"),
    27: (
        f"{CHATS}defaults_count_where_a_request_says_nothing",
        f"{CHATS}bad_parameters_are_refused_before_anything_is_sent",
        f"{CHATS}edges_of_ranges_are_allowed",
    ),
    28: (f"{CHATS}parameters_reach_the_model", f"{CHATS}bad_parameters_are_refused_before_anything_is_sent"),
    29: (f"{CHATS}parameters_reach_the_model", f"{CHATS}bad_parameters_are_refused_before_anything_is_sent"),
    30: (f"{CHATS}parameters_reach_the_model", f"{CHATS}bad_parameters_are_refused_before_anything_is_sent"),
    31: (f"{CHATS}parameters_reach_the_model", f"{CHATS}lists_of_stop_strings_reach_the_model"),
    32: (f"{CHATS}parameters_reach_the_model",),
    33: (f"{CHATS}whole_reply", f"{CHATS}stream_has_role_then_content_then_an_empty_delta_with_usage"),
    34: (
        f"{CHATS}stream_has_role_then_content_then_an_empty_delta_with_usage",
        f"{STREAMS}the_text_and_its_head_are_put_together",
    ),
    35: (
        f"{CHATS}stream_has_role_then_content_then_an_empty_delta_with_usage",
        f"{CHATS}limit_ends_with_length",
        f"{CHATS}tool_calls_stream_in_pieces",
    ),
    36: (
        f"{CHATS}stream_has_role_then_content_then_an_empty_delta_with_usage",
        f"{STREAMS}the_number_of_tokens_may_come_with_the_finish_reason",
    ),
    37: (f"{CHATS}stream_has_role_then_content_then_an_empty_delta_with_usage",),
    38: (
        f"{CHATS}failure_within_a_stream_is_an_event",
        f"{OUTAGES}connection_lost_within_a_stream_is_an_error_event_then_done",
    ),
    39: (f"{CLIENTS}javascript_without_a_library", f"{SSE}any_stream_in_any_pieces"),
    40: (f"{MODELS}name_or_any_unique_part_of_it",),
    41: (f"{MODELS}default_model_may_be_a_part_of_a_name", f"{MODELS}part_that_fits_several_models_names_them"),
    42: (
        f"{MODELS}answer_of_another_model_is_not_passed_on",
        f"{MODELS}model_that_is_replaced_meanwhile_is_404",
        f"{MODELS}model_that_is_not_loaded_is_404_and_names_what_is",
    ),
    43: (
        f"{CHATS}bad_parameters_are_refused_before_anything_is_sent",
        f"{CLIENTS}openai_errors_have_the_classes_of_their_status",
    ),
    44: (
        f"{MODELS}model_that_is_not_loaded_is_404_and_names_what_is",
        f"{MODELS}model_that_is_unloaded_meanwhile_is_404",
    ),
    45: (f"{CHATS}failure_of_lm_studio_is_500", f"{MODELS}failed_load_is_500"),
    46: (
        f"{OUTAGES}studio_that_is_away_is_502_at_once_and_used_again_when_it_is_back",
        f"{OUTAGES}connection_lost_before_the_first_packet_is_502",
    ),
    47: (
        f"{OUTAGES}reply_that_takes_too_long_is_504_and_the_model_is_stopped",
        f"{OUTAGES}stream_without_a_first_token_is_504",
    ),
    48: ("examples/deploy/gateway/gateway.yaml: Models of 7B and less: 60 and 10 seconds",),
    49: ("examples/deploy/gateway/gateway.yaml: 13B and more: 120 and 15",),
    50: (
        "docs/troubleshooting.md: of 7B need 4 to 8 GB of memory",
        "docs/troubleshooting.md: of a large model after 1 to 5",
        f"{NATIVE}handles.py::test_need_of_a_model_is_estimated_without_loading_it",
    ),
    51: ("docs/troubleshooting.md: Quantized models (Q4_K_M, Q5_K_M)", "docs/troubleshooting.md: a shorter context"),
    52: (
        "docs/troubleshooting.md: connection refused",
        "docs/troubleshooting.md: no such model",
        "docs/troubleshooting.md: LMStudioTimeoutError, 504",
        "docs/troubleshooting.md: out of memory",
    ),
    53: ("unit/test_logs.py::test_the_environment_shows_the_log", "docs/troubleshooting.md: `LMSTUDIO_LOG=debug`"),
    54: (
        f"{DEPLOY}composition_uses_the_image_safely",
        f"{DEPLOY}composition_may_have_a_server_in_the_place_of_lm_studio",
    ),
    55: (f"{DEPLOY}unit_starts_again_and_lets_the_gateway_end_its_work",),
    56: (
        f"{RETRIES}a_failure_that_may_pass_is_tried_again",
        f"{OUTAGES}connection_lost_while_idle_costs_no_request",
        "Differs: the gateway itself sends nothing twice, so that its clients decide; it says 502 or 504 at once.",
    ),
    57: (
        f"{MODELS}preloaded_models_are_there_when_the_gateway_listens",
        f"{COMMAND}models_are_loaded_before_it_says_that_it_serves",
    ),
    58: ("docs/troubleshooting.md: - Stream:", "docs/http.md: A slow model needs more than 30 seconds"),
    59: (
        "docs/gateway.md: nobody: replies are made up",
        "gateway/test_mock.py::test_it_answers",
        f"{COMMAND}mock_needs_no_lm_studio",
    ),
    60: (
        "http_surfaces/test_request_log.py::test_each_request_is_one_line",
        "http_surfaces/test_metrics.py::test_times_are_those_that_have_passed",
    ),
    61: (f"{NUMBERS}predictions_are_counted",),
    62: (
        f"{NUMBERS}load_that_many_wait_for_is_one",
        "http_surfaces/test_metrics.py::test_times_are_those_that_have_passed",
    ),
    63: (
        "http_surfaces/test_metrics.py::test_memory_of_the_server_is_shown",
        f"{NATIVE}handles.py::test_need_of_a_model_is_estimated_without_loading_it",
        "Differs: the gateway shows what its own process takes; what a model takes can be estimated by clients.",
    ),
    64: (
        f"{NUMBERS}load_that_many_wait_for_is_one",
        f"{NUMBERS}client_that_goes_away_leaves_no_gauge_up",
        f"{NATIVE}handles.py::test_processing_state_says_how_much_an_instance_has_to_do",
    ),
    65: ("docs/troubleshooting.md: Start LM Studio and its server", "README.md: ### Find and download models"),
}

POINTS: Final = {
    "H28": (
        f"{ERRORS}every_shape_is_read",
        f"{ERRORS}a_failure_with_the_status_of_success",
        f"{ERRORS}a_failure_in_a_stream",
        f"{ERRORS}the_embedded_server_is_understood",
    ),
    "P1": (
        "unit/test_make_sync.py::test_check_shows_how_an_edited_twin_differs",
        f"{NATIVE}http_responses.py::test_stream_of_events_ends_with_the_response",
        f"{NATIVE}http_anthropic.py::test_stream_of_events_ends_with_the_message",
        f"{NATIVE}http_rest_v0.py::test_chat_has_statistics",
        f"{NATIVE}http_rest_v1.py::test_load_and_unload",
        f"{NATIVE}http_rest_v1.py::test_download_is_waited_for",
        f"{NATIVE}http_rest_v1.py::test_stream_of_events_ends_with_the_reply",
        f"{SSE}any_stream_in_any_pieces",
        f"{SSE}any_bytes_in_any_pieces",
        f"{CLIENT}what_is_not_known_is_passed_on",
        f"{REPLIES}unknown_members_of_a_reply_are_kept_where_they_were",
        "http/test_surface_replies.py::test_unknown_members_of_replies_are_kept",
        "http_surfaces/test_client_twins.py::test_events_of_a_response",
        f"{PROGRAMS}program_of_the_completion_client",
    ),
    "P2": (
        f"{RETRIES}a_failure_that_may_pass_is_tried_again",
        f"{RETRIES}a_request_without_a_reply_is_sent_again",
        f"{RETRIES}pauses_double_and_chance_shortens_them",
        f"{RETRIES}retry_after_in_seconds",
        f"{RETRIES}retry_after_as_a_date",
        f"{RETRIES}each_attempt_is_told",
        f"{RETRIES}nothing_is_repeated_after_the_first_byte_of_a_stream",
        f"{ERRORS}each_status_has_its_class",
        f"{TIMEOUTS}connect_while_tls_gets_no_answer",
        f"{TIMEOUTS}the_first_token_has_a_limit_of_its_own",
        f"{TIMEOUTS}after_the_first_token_idle_counts",
        f"{TIMEOUTS}the_total_counts_over_all_attempts",
    ),
    "P3": (
        f"{SETTINGS}an_argument_beats_the_environment_and_that_the_file",
        f"{SETTINGS}every_variable_is_read",
        f"{HTTP_SETTINGS}a_file_is_as_good",
        f"{NATIVE}chosen_settings.py::test_a_file_has_address_and_token",
        f"{ASKING}the_address_may_come_from_the_environment_or_a_file",
        f"{GATEWAY}other_machine_without_a_token_is_refused_when_asked_to",
        f"{HTTP_SETTINGS}another_machine_without_a_token_is_refused_on_request",
    ),
    "P4": (
        f"{CONTRACT}everything_keeps_the_contract",
        f"{CONTRACT}everything_answers_alike",
        f"{MESSAGES}messages_survive_a_chat_and_back",
    ),
    "P5": (
        f"{COMMAND}file_and_environment_are_read",
        f"{OUTAGES}studio_that_is_away_is_502_at_once_and_used_again_when_it_is_back",
        f"{DEPLOY}streams_of_a_gateway_go_on_when_another_one_is_gone",
        f"{DEPLOY}gateway_whose_lm_studio_is_gone_is_passed_over",
        f"{CHATS}what_needs_a_memory_or_a_server_is_not_there",
        f"{NUMBERS}predictions_are_counted",
        f"{NUMBERS}request_is_a_span_and_its_load_a_child",
        "http_surfaces/test_tracing.py::test_all_names_are_those_of_the_conventions",
    ),
    "P6": (
        f"{CLIENTS}openai_stream_with_usage",
        f"{CLIENTS}javascript_without_a_library",
        "gateway/test_many_streams.py::test_nobody_hangs_and_nothing_is_left",
        "benchmarks/gateway_load.py: 100 streams at once through the gateway, whose upstream is killed now and then",
        "benchmarks/gateway.py: GOAL = 5.0",
    ),
    "P7": (
        f"{ASKING}ping_runs_as_a_program",
        f"{ASKING}credentials_that_are_refused_are_exit_code_3",
        f"{ASKING}a_server_that_fails_is_exit_code_4",
        f"{ASKING}wrong_arguments_are_exit_code_2",
        f"{ASKING}models_over_http_are_what_that_tells",
    ),
}

FEATURE_ROWS: Final = {
    **NAMESPACES,
    **PLUGINS,
    294: R0[33] + R1[37],
    295: ("unit/test_errors.py::test_the_parts_of_an_error_are_attributes_without_the_stack",),
    296: (f"{ERRORS}an_unknown_model", f"{TREE}presets_may_be_meant_too"),
    298: R0[36],
    300: R0[34] + R1[35],
    303: R0[6],
    304: R1[35] + R1[36],
    305: R0[37] + R2[43] + R2[44] + R2[45] + R2[46] + R2[47],
    306: POINTS["P2"],
    310: R2[53],
    311: R2[60] + R2[61] + R2[62] + R2[63] + R2[64],
    312: R0[7],
    319: R1[45],
    320: R1[46],
    321: R0[43],
    322: R0[2] + R2[22],
    323: R0[3] + R0[47],
    324: R1[11] + R2[21],
    325: R2[34] + R2[35] + R2[36] + R2[37],
    326: R0[15] + R1[34] + R2[23],
    327: R0[4] + R1[1],
    328: R1[12] + R1[13] + R1[14] + R1[15],
    329: R1[30],
    330: R2[21] + R2[22] + R2[23],
    331: R2[26] + R2[27] + R2[33],
    332: R2[59],
    333: R2[54] + R2[55],
    334: R1[43],
    335: R1[44],
}

ROWS: Final[dict[str, tuple[str, ...]]] = {
    **{f"R0.{number}": shown for number, shown in R0.items()},
    **{f"R1.{number}": shown for number, shown in R1.items()},
    **{f"R2.{number}": shown for number, shown in R2.items()},
    **POINTS,
    **{f"F{number}": shown for number, shown in FEATURE_ROWS.items()},
}
