"""What shows each row of the list of all features that is about the namespaces beside models, and about plugins.

Rows are written as in `reference_rows.py`.
"""

from __future__ import annotations

from typing import Final

SURFACE: Final = "surface/async/test_"
SEARCH: Final = f"{SURFACE}repository.py::test_"
PLANS: Final = f"{SURFACE}repository_plans.py::test_"
HUB: Final = f"{SURFACE}repository_hub.py::test_"
SYSTEM: Final = f"{SURFACE}system.py::test_"
RUNTIME: Final = f"{SURFACE}runtime_client.py::test_"
LOGS: Final = f"{SURFACE}diagnostics.py::test_"
USE: Final = f"{SURFACE}plugins_client.py::test_"
CONTROLLERS: Final = f"{SURFACE}plugin_controllers.py::test_"
OPS: Final = "unit/test_ops_"
RUNNER: Final = "plugin/test_runner.py::test_"
COMMAND: Final = "plugin/test_plugin_command.py::test_"
EXAMPLES: Final = "plugin/test_examples_of_plugins.py::test_"
CLASSES: Final = "plugin/test_config_schemas.py::test_"
BUILDER: Final = "plugin/test_config_schematics.py::test_"
GOLDEN: Final = "peer/test_config_schematics_golden.py::test_"
CONTEXTS: Final = "plugin/test_tool_call_contexts.py::test_"

NAMESPACES: Final = {
    229: (f"{SEARCH}search_finds_models", f"{SEARCH}search_without_arguments_finds_what_is_recommended"),
    230: (f"{SEARCH}results_tell_what_they_are",),
    231: (f"{SEARCH}options_describe_what_there_is_to_download",),
    232: (f"{SEARCH}options_describe_what_there_is_to_download",),
    233: (f"{SEARCH}download_reports_progress_and_finalizes_once",),
    234: (f"{SEARCH}signal_cancels_the_download", f"{SEARCH}cancelled_task_cancels_the_download"),
    235: (f"{OPS}hub.py::test_an_artifact_is_downloaded", f"{OPS}hub.py::test_a_refused_artifact_says_why"),
    236: (f"{PLANS}a_plan_is_changed_and_carried_out", f"{PLANS}signal_cancels_the_download_of_a_plan"),
    237: (f"{PLANS}a_plan_is_changed_and_carried_out", f"{PLANS}what_is_there_already_can_be_kept"),
    238: (
        f"{HUB}logging_in_and_publishing_call_back",
        f"{OPS}hub.py::test_what_is_not_said_about_an_artifact_is_not_sent",
    ),
    239: (f"{HUB}artifacts_are_listed_and_refused_by_the_embedded_server",),
    240: (f"{OPS}hub.py::test_an_order_is_given_as_the_wire_has_it",),
    241: (f"{OPS}hub.py::test_an_order_is_given_as_the_wire_has_it",),
    242: (f"{HUB}logging_in_and_publishing_call_back", f"{OPS}hub.py::test_who_logs_in_gets_the_code"),
    243: (
        f"{OPS}hub.py::test_a_question_is_asked_as_the_wire_has_it",
        f"{OPS}hub.py::test_secrets_of_a_login_are_not_in_the_log",
    ),
    244: (
        f"{HUB}nobody_is_logged_in_at_the_embedded_server",
        f"{OPS}hub.py::test_an_order_is_given_as_the_wire_has_it",
    ),
    245: (f"{HUB}the_catalogue_can_be_read_as_a_whole",),
    246: (
        f"{OPS}hub.py::test_a_question_is_asked_as_the_wire_has_it",
        "peer/test_lmstudio_js_repository.py::test_staff_picks_are_found",
    ),
    247: (f"{HUB}lm_link_is_off_at_the_embedded_server", f"{OPS}hub.py::test_an_order_is_given_as_the_wire_has_it"),
    248: (
        "unit/test_manifests.py::test_a_manifest_is_read_and_written",
        "unit/test_manifests.py::test_what_is_no_manifest_is_refused",
    ),
    249: (f"{SYSTEM}a_server_says_which_one_it_is",),
    250: (f"{SYSTEM}a_server_says_which_one_it_is",),
    251: (f"{SYSTEM}a_server_ends_when_a_client_asks_for_it",),
    252: (f"{SYSTEM}the_http_server_is_started_and_stopped",),
    253: (f"{SYSTEM}a_notification_reaches_the_server",),
    254: (f"{SYSTEM}experiments_are_switched_on_and_off",),
    255: (
        f"{LOGS}events_of_the_types_that_are_wanted_arrive",
        f"{LOGS}a_lost_connection_is_an_error",
        f"{OPS}diagnostics.py::test_the_end_of_the_channel_is_the_end_of_the_stream",
    ),
    256: (f"{RUNTIME}engines_are_listed_and_selected",),
    257: (
        f"{RUNTIME}engines_are_listed_and_selected",
        f"{RUNTIME}what_no_server_could_do_is_refused_before_anything_is_sent",
    ),
    258: (
        f"{OPS}runtime.py::test_extensions_are_found_and_can_be_named_as_they_are",
        f"{OPS}runtime.py::test_a_download_reports_how_far_it_is",
        f"{RUNTIME}extensions_are_looked_for_and_refused_where_there_are_none",
    ),
    259: (f"{RUNTIME}hardware_is_surveyed_by_chosen_engines",),
}

PLUGINS: Final = {
    260: (
        f"{USE}a_registration_has_credentials_and_ends_when_asked",
        f"{COMMAND}plugin_in_development_follows_its_files_and_its_host",
    ),
    261: (
        f"{RUNNER}coroutine_preprocesses_a_message",
        f"{COMMAND}plugin_without_credentials_says_what_to_do",
        f"{COMMAND}what_is_no_plugin_is_refused",
    ),
    262: (f"{USE}a_plugin_tells_its_host_about_itself",),
    263: (f"{USE}a_registration_has_credentials_and_ends_when_asked",),
    264: (f"{EXAMPLES}prompt_preprocessor_adds_mentioned_files", f"{RUNNER}coroutine_preprocesses_a_message"),
    265: (
        f"{EXAMPLES}tools_provider_reads_the_working_directory",
        f"{RUNNER}calls_of_a_session_run_at_the_same_time",
        f"{RUNNER}limit_of_parallel_calls",
    ),
    266: (f"{EXAMPLES}generator_passes_on_what_another_server_answers", f"{RUNNER}generator_answers_a_chat"),
    267: (f"{EXAMPLES}prediction_loop_handler_answers_twice",),
    268: (f"{CONTROLLERS}generator_reports_reach_its_host",),
    269: (
        f"{USE}a_generator_answers_as_a_model_does",
        f"{USE}act_with_a_generator_calls_tools_and_offers_none_in_the_last_round",
    ),
    270: (
        f"{CONTROLLERS}token_source_predicts_with_the_settings_of_the_chat",
        f"{RUNNER}plain_function_preprocesses_a_message_with_a_client_of_its_own",
    ),
    271: (f"{CONTROLLERS}settings_and_directory_come_with_the_task",),
    272: (f"{CONTROLLERS}settings_and_directory_come_with_the_task",),
    273: (f"{CONTROLLERS}abort_ends_what_waits_for_the_user", f"{RUNNER}aborted_task_ends_and_lets_the_next_one_work"),
    274: (f"{CONTROLLERS}history_of_a_loop_has_the_message_and_that_of_a_preprocessor_not",),
    275: (f"{CONTROLLERS}status_lines_change_and_go", f"{CONTROLLERS}status_notes_of_the_official_package"),
    276: (f"{CONTROLLERS}only_cancellation_is_shown_as_such", f"{CONTROLLERS}cancellation_of_a_task_is_shown"),
    277: (f"{CONTROLLERS}citations_of_a_search_name_their_places",),
    278: (f"{CONTROLLERS}content_blocks_grow_and_change", f"{CONTROLLERS}abort_stops_what_flows_into_a_block"),
    279: (f"{CONTROLLERS}debug_shows_any_values",),
    280: (
        f"{CONTROLLERS}token_source_predicts_with_the_settings_of_the_chat",
        f"{CONTROLLERS}generator_of_the_chat_speaks_with_its_settings",
    ),
    281: (f"{CONTROLLERS}names_of_chat_and_sender",),
    282: (f"{CONTROLLERS}tool_status_keeps_what_does_not_change", f"{CONTROLLERS}user_allows_denies_and_writes"),
    283: (f"{CONTROLLERS}tools_of_the_plugins_of_the_chat",),
    284: (f"{CONTEXTS}coroutine_tells_status_and_warning", f"{CONTEXTS}function_tells_status_and_warning"),
    285: (
        f"{RUNNER}aborted_call_of_a_plain_function_hears_of_it",
        f"{RUNNER}call_over_its_time_limit_hears_of_it",
    ),
    286: (f"{USE}a_plugin_tells_its_host_about_itself",),
    287: (f"{COMMAND}what_is_no_plugin_is_refused", f"{COMMAND}context_of_a_call_is_there_only_in_a_call"),
    288: (
        f"{CLASSES}basic_types_are_announced_as_by_the_official_package",
        f"{RUNNER}host_knows_the_settings_of_the_plugin",
    ),
    289: (f"{CLASSES}annotations_say_what_a_setting_can_be", f"{BUILDER}every_type_and_parameter_has_a_keyword"),
    290: (f"{BUILDER}every_type_and_parameter_has_a_keyword", f"{BUILDER}dependency_has_one_condition"),
    291: (f"{BUILDER}keys_of_scopes_are_joined_with_dots", f"{CLASSES}schemas_inside_one_another_are_scopes"),
    292: (f"{BUILDER}value_is_got_with_its_type", f"{CLASSES}values_have_the_types_of_the_annotations"),
    293: (
        f"{GOLDEN}type_of_values_checks_compares_and_shows_alike",
        f"{GOLDEN}same_types_exist_in_both_libraries",
        f"{BUILDER}built_configuration_has_the_values_that_were_given",
    ),
    318: (
        f"{COMMAND}plugin_in_development_follows_its_files_and_its_host",
        f"{COMMAND}host_that_is_gone_ends_the_command",
        "docs/plugins.md: python -m lmstudio.plugin --dev my-plugin",
    ),
}
