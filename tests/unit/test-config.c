/* SPDX-License-Identifier: Apache-2.0 */
#include "config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "config/config_internal.h"
#include "unit.h"

/* ---- a directory per test ---- */

static char dir[64];
static char file[96]; /* dir/agent.conf */

static void set_up(void) {
        unit_directory(dir, sizeof dir, "test-config");
        (void) snprintf(file, sizeof file, "%s/agent.conf", dir);
        (void) unsetenv("CREDENTIALS_DIRECTORY");
        (void) unsetenv("STATE_DIRECTORY");
        (void) unsetenv("RUNTIME_DIRECTORY");
        (void) umask(022);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw) {
        return remove(path);
}

static void tear_down(void) {
        (void) nftw(dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static void write_bytes(const char *name, const void *data, size_t len) {
        char path[PATH_MAX];
        FILE *f;

        (void) snprintf(path, sizeof path, "%s%s%s", name[0] == '/' ? "" : dir, name[0] == '/' ? "" : "/",
                        name);
        f = fopen(path, "we");
        ck_assert_ptr_nonnull(f);
        ck_assert_uint_eq(fwrite(data, 1, len, f), len);
        ck_assert_int_eq(fclose(f), 0);
}

static void write_text(const char *name, const char *text) {
        write_bytes(name, text, strlen(text));
}

static const char *below(const char *name) {
        static char path[8][PATH_MAX];
        static unsigned n;
        char *ret = path[n++ % 8];

        (void) snprintf(ret, sizeof path[0], "%s/%s", dir, name);
        return ret;
}

/* ---- loading with all reports as one text: "error " or "warning ", the report with the directory cut off, a line feed ---- */

static void collect(ConfigSeverity severity, const char *text, void *userdata) {
        Buf *b = userdata;
        size_t n = strlen(dir);

        buf_puts(b, severity == CONFIG_ERROR ? "error " : "warning ");
        for (const char *at; (at = strstr(text, dir)); text = at + n + (at[n] == '/'))
                buf_append(b, text, (size_t) (at - text));
        buf_printf(b, "%s\n", text);
}

static Config *load(const char *text, int expected, const char *reports) {
        CLEANUP_BUF Buf b = { 0 };
        Config *c = NULL;
        int r;

        write_text("agent.conf", text);
        r = config_load(file, collect, &b, &c);
        ck_assert_msg(r == expected && strcmp(b.data ? b.data : "", reports) == 0,
                      "result %d\n%s\n--- expected ---\n%s\n---", r, b.data ? b.data : "", reports);
        ck_assert((c != NULL) == (r == 0));
        return c;
}

#define REQUIRED    "thing_name = \"t\"; endpoint = \"broker.example\"; "
#define CREDENTIALS "credentials = { ca_file = \"/ca\"; cert_file = \"/cert\"; key_file = \"/key\"; };"
#define BASE        REQUIRED CREDENTIALS "\n"

/* ---- good files ---- */

START_TEST(defaults) {
        Config *c CLEANUP(config_free) = load(BASE, 0, "");

        ck_assert_str_eq(c->file, file);
        ck_assert_str_eq(c->thing_name, "t");
        ck_assert_str_eq(c->client_id, "t");
        ck_assert_str_eq(c->endpoint, "broker.example");
        ck_assert_int_eq(c->port, 8883);
        ck_assert_int_eq(c->transport, CONFIG_TRANSPORT_MQTT);
        ck_assert_int_eq(c->protocol, 4);
        ck_assert_str_eq(c->alpn, "");
        ck_assert_ptr_null(c->proxy);
        ck_assert_ptr_null(c->proxy_password_file);
        ck_assert_int_eq(c->keep_alive, 60);
        ck_assert(c->clean_session);
        ck_assert_int_eq(c->qos, 1);
        ck_assert_int_eq(c->connect_timeout, 30);
        ck_assert_int_eq(c->operation_timeout, 10);
        ck_assert_int_eq(c->reconnect_min, 1);
        ck_assert_int_eq(c->reconnect_max, 128);
        ck_assert_int_eq(c->stable, 20);
        ck_assert_int_eq(c->publish_rate, 0);
        ck_assert_str_eq(c->ca_file, "/ca");
        ck_assert_str_eq(c->cert_file, "/cert");
        ck_assert_str_eq(c->key_file, "/key");
        ck_assert_ptr_null(c->username);
        ck_assert_ptr_null(c->password_file);
        ck_assert_ptr_null(c->key_uri);
        ck_assert_ptr_null(c->engine);
        ck_assert_ptr_null(c->region);
        ck_assert_ptr_null(c->aws_credentials_file);
}
END_TEST

START_TEST(defaults_of_runner) {
        Config *c CLEANUP(config_free) = load(BASE, 0, "");

        ck_assert_str_eq(c->handler_directories[0], "/etc/iot-jobs/handlers.d");
        ck_assert_ptr_null(c->handler_directories[1]);
        ck_assert_int_eq(c->handler_timeout, 3600);
        ck_assert_int_eq(c->kill_grace, 10);
        ck_assert_int_eq(c->on_interrupt, CONFIG_INTERRUPT_FAIL);
        ck_assert_int_eq(c->max_attempts, 10);
        ck_assert_int_eq(c->report_output, CONFIG_REPORT_ON_FAILURE);
        ck_assert_ptr_null(c->environment[0]);
        ck_assert_uint_eq(c->n_overrides, 0);
        ck_assert_ptr_null(c->handler_user);
        ck_assert_int_eq(c->retry_delay, 60);
        ck_assert_int_eq(c->reboot_timeout, 900);
        ck_assert_str_eq(c->reboot_command[0], "systemctl");
        ck_assert_str_eq(c->reboot_command[1], "reboot");
        ck_assert_ptr_null(c->reboot_command[2]);
        ck_assert_ptr_null(c->fallback);
        ck_assert(!c->device_client_args && !c->run_command && !c->require_signature);
        ck_assert_uint_eq(c->exit_codes.n + c->facts.n, 0);
        ck_assert_ptr_null(c->run_as[0]);
        ck_assert_str_eq(c->trusted_keys, "/etc/iot-jobs/trusted-keys.d");
        ck_assert_int_eq(c->max_concurrent, 1);
        ck_assert_int_eq(c->on_orphan, CONFIG_ORPHAN_FAIL);
        ck_assert_int_eq(c->progress_interval, 5);
        ck_assert_int_eq(c->poll_interval, 3600);
        ck_assert_int_eq(c->step_timeout_margin, 86400);
        ck_assert_ptr_null(c->policy_paths[0]);
        ck_assert_int_eq(c->log_level, LOG_LEVEL_INFO);
        ck_assert_ptr_null(c->redact[0]);
        ck_assert_str_eq(c->runner_socket, "/run/iot-jobs/runner.sock");
        ck_assert_ptr_null(c->runner_path);
        ck_assert_str_eq(c->agent_user, "iot-jobs");
        ck_assert_str_eq(c->state_directory, "/var/lib/iot-jobs");
        ck_assert_str_eq(c->runtime_directory, "/run/iot-jobs");
}
END_TEST

START_TEST(every_value) {
        Config *c CLEANUP(config_free) = load(
                "thing_name = \"a:b_c-9\"; client_id = \"c d\"; endpoint = \"fe80::1\"; port = 0x1F40;\n"
                "connection : { protocol = \"5\"; alpn = \"x\"; keep_alive = 30L; clean_session = false; qos "
                "= 0; connect_timeout = 1;\n"
                "  operation_timeout = 2; reconnect_min = 3; reconnect_max = 3; stable = 0; publish_rate = "
                "7; };\n"
                "credentials = { ca_file = \"/ca\"; username = \"u\"; password_file = \"/p\"; };\n"
                "handlers = { directories = ( \"/a\", \"/b\" ); timeout = 0; kill_grace = 4; on_interrupt = "
                "\"rerun\"; max_attempts = 0;\n"
                "  report_output = \"never\"; environment = [ \"A=1\", \"B=\" ]; };\n"
                "jobs = { max_concurrent = 10; on_orphan = \"leave\"; progress_interval = 0; poll_interval = "
                "0; step_timeout_margin = 0; };\n"
                "policy = { paths = [ \"/opt\" ]; }; log = { level = \"debug\"; redact = ( \"secret\" ); };\n"
                "runner = { socket = \"/s\"; path = \"/r\"; }; agent_user = \"nobody\";\n"
                "state_directory = \"/state\"; runtime_directory = \"/runtime\";\n",
                0, "");

        ck_assert_str_eq(c->client_id, "c d");
        ck_assert_int_eq(c->port, 8000);
        ck_assert_int_eq(c->protocol, CONFIG_PROTOCOL_5);
        ck_assert_str_eq(c->alpn, "x");
        ck_assert_int_eq(c->keep_alive, 30);
        ck_assert(!c->clean_session);
        ck_assert_int_eq(c->qos + c->connect_timeout + c->operation_timeout + c->reconnect_min +
                                 c->reconnect_max + c->stable + c->publish_rate,
                         16);
        ck_assert_str_eq(c->username, "u");
        ck_assert_str_eq(c->handler_directories[1], "/b");
        ck_assert_int_eq(c->handler_timeout, 0);
        ck_assert_int_eq(c->kill_grace, 4);
        ck_assert_int_eq(c->on_interrupt, CONFIG_INTERRUPT_RERUN);
        ck_assert_int_eq(c->max_attempts, 0);
        ck_assert_int_eq(c->report_output, CONFIG_REPORT_NEVER);
        ck_assert_str_eq(c->environment[1], "B=");
        ck_assert_int_eq(c->max_concurrent, 10);
        ck_assert_int_eq(c->on_orphan, CONFIG_ORPHAN_LEAVE);
        ck_assert_int_eq(c->progress_interval + c->poll_interval + c->step_timeout_margin, 0);
        ck_assert_str_eq(c->policy_paths[0], "/opt");
        ck_assert_int_eq(c->log_level, LOG_LEVEL_DEBUG);
        ck_assert_str_eq(c->redact[0], "secret");
        ck_assert_str_eq(c->runner_socket, "/s");
        ck_assert_str_eq(c->runner_path, "/r");
        ck_assert_str_eq(c->agent_user, "nobody");
        ck_assert_str_eq(c->state_directory, "/state");
        ck_assert_str_eq(c->runtime_directory, "/runtime");
}
END_TEST

START_TEST(outcomes_and_policy) {
        Config *c CLEANUP(config_free) =
                load(BASE "handlers = { user = \"jobs\"; retry_delay = 3600; reboot_command = ( \"/sbin/reboot\" ); reboot_timeout = 10;\n"
                          "fallback = \"x.sh\"; device_client_args = true;\n"
                          "exit_codes = ( { code = 3; outcome = \"retry\"; }, { from = 10; to = 19; outcome = \"reject\"; } );\n"
                          "override = ( { name = \"a\"; user = \"u\"; on_cancel = \"finish\"; exit_codes = ( { outcome = \"reboot\"; to = 255; "
                          "from = 1; } ); }, { name = \"b\"; } ); };\n"
                          "policy = { run_command = true; run_as = ( \"u\", \"v\" ); require_signature = true; trusted_keys = \"/k\"; };\n"
                          "facts = { site = \"plant-7\"; line = \"\\\"2\\\"\"; };\n",
                     0, "");

        ck_assert_str_eq(c->handler_user, "jobs");
        ck_assert_int_eq(c->retry_delay, 3600);
        ck_assert_str_eq(c->reboot_command[0], "/sbin/reboot");
        ck_assert_ptr_null(c->reboot_command[1]);
        ck_assert_int_eq(c->reboot_timeout, 10);
        ck_assert_str_eq(c->fallback, "x.sh");
        ck_assert(c->device_client_args && c->run_command && c->require_signature);
        ck_assert_str_eq(c->run_as[1], "v");
        ck_assert_str_eq(c->trusted_keys, "/k");
        ck_assert_uint_eq(c->exit_codes.n, 2);
        ck_assert_int_eq(c->exit_codes.item[0].from * 1000 + c->exit_codes.item[0].to, 3003);
        ck_assert_int_eq(c->exit_codes.item[0].outcome, CONFIG_OUTCOME_RETRY);
        ck_assert_int_eq(c->exit_codes.item[1].from * 1000 + c->exit_codes.item[1].to, 10019);
        ck_assert_int_eq(c->exit_codes.item[1].outcome, CONFIG_OUTCOME_REJECT);
        ck_assert_str_eq(c->overrides[0].user, "u");
        ck_assert_int_eq(c->overrides[0].on_cancel, CONFIG_CANCEL_FINISH);
        ck_assert_int_eq(c->overrides[0].exit_codes.item[0].from * 1000 + c->overrides[0].exit_codes.item[0].to, 1255);
        ck_assert_int_eq(c->overrides[0].exit_codes.item[0].outcome, CONFIG_OUTCOME_REBOOT);
        ck_assert_ptr_null(c->overrides[1].user);
        ck_assert_int_eq(c->overrides[1].on_cancel, -1);
        ck_assert_uint_eq(c->overrides[1].exit_codes.n, 0);
        ck_assert_uint_eq(c->facts.n, 2);
        ck_assert_str_eq(c->facts.item[0].name, "site");
        ck_assert_str_eq(c->facts.item[0].value, "plant-7");
        ck_assert_str_eq(c->facts.item[1].value, "\"2\"");
}
END_TEST

START_TEST(no_success) {
        (void) config_free(load(BASE "handlers = { exit_codes = ( { from = 0; to = 9; outcome = \"retry\"; }, { code = 0; "
                                     "outcome = \"success\"; } ); };\n",
                                0,
                                "warning agent.conf:2: handlers.exit_codes[0].outcome: value \"retry\": a handler that exits "
                                "with 0 does not succeed then\n"));
}
END_TEST

START_TEST(overrides) {
        Config *c CLEANUP(config_free) =
                load(BASE "handlers = { override = ( { name = \"a\"; timeout = 5; }, { name = \"b.sh\"; "
                          "kill_grace = 0; }, "
                          "{ name = \"b\"; on_interrupt = \"rerun\"; } ); };",
                     0, "");

        ck_assert_uint_eq(c->n_overrides, 3);
        ck_assert_int_eq(config_override(c, "a")->timeout, 5);
        ck_assert_int_eq(config_override(c, "a")->kill_grace, -1);
        ck_assert_int_eq(config_override(c, "a")->on_interrupt, -1);
        ck_assert_ptr_eq(config_override(c, "a.sh"), config_override(c, "a"));
        ck_assert_int_eq(config_override(c, "b.sh")->kill_grace, 0);
        ck_assert_int_eq(config_override(c, "b")->on_interrupt, CONFIG_INTERRUPT_RERUN);
        ck_assert_ptr_null(config_override(c, "c"));
        ck_assert_ptr_null(config_override(c, "a.s"));
        ck_assert_ptr_null(config_override(c, ".sh"));
}
END_TEST

START_TEST(limits_of_an_override) {
        Config *c CLEANUP(config_free) =
                load(BASE "handlers = { override = ( { name = \"a\"; memory_max = \"64M\"; tasks_max = 9; cpu_weight = 10; "
                          "io_weight = 10000;\n"
                          "private_network = true; inhibit_shutdown = true; }, { name = \"b\"; private_network = false; } ); };",
                     0, "");
        const ConfigOverride *a = config_override(c, "a"), *b = config_override(c, "b");

        ck_assert_str_eq(a->memory_max, "64M");
        ck_assert_int_eq(a->tasks_max, 9);
        ck_assert_int_eq(a->cpu_weight, 10);
        ck_assert_int_eq(a->io_weight, 10000);
        ck_assert(a->private_network && a->inhibit_shutdown);
        ck_assert_ptr_null(b->memory_max);
        ck_assert(b->tasks_max == -1 && b->cpu_weight == -1 && b->io_weight == -1);
        ck_assert(!b->private_network && !b->inhibit_shutdown);
}
END_TEST

static const struct Memory {
        const char *text;
        uint64_t bytes; /* of a machine of 1000000000; 0 = refused */
} memories[] = {
        { "infinity", UINT64_MAX },
        { "1048576", 1048576 },
        { "1048575", 0 },
        { "64", 0 }, /* forgotten M */
        { "64M", 64 << 20 },
        { "2048K", 2 << 20 },
        { "3G", UINT64_C(3) << 30 },
        { "2T", UINT64_C(2) << 40 },
        { "999999999999999T", 0 },
        { "1000000000000000", 0 }, /* a digit too many */
        { "0", 0 },
        { "0%", 0 },
        { "25%", 250000000 },
        { "100%", 1000000000 },
        { "101%", 0 },
        { "", 0 },
        { "M", 0 },
        { "%", 0 },
        { "64MB", 0 },
        { "64m", 0 },
        { "-1M", 0 },
        { " 64M", 0 },
        { "1.5G", 0 },
};

START_TEST(memory) {
        const struct Memory *m = &memories[_i];
        uint64_t bytes;
        int r = config_memory(m->text, 1000000000, &bytes);

        ck_assert_msg(r == (m->bytes ? 0 : -EINVAL), "%s: %d", m->text, r);
        if (m->bytes)
                ck_assert_msg(bytes == m->bytes, "%s: %llu", m->text, (unsigned long long) bytes);
}
END_TEST

START_TEST(every_connection) {
        Config *c CLEANUP(config_free) =
                load(REQUIRED "credentials = { ca_file = \"ca\"; region = \"eu-west-1\"; aws_credentials_file = \"aws\"; };\n"
                              "connection = { transport = \"websocket\"; protocol = \"3.1\"; proxy = \"http://u%40@[::1]:1\"; "
                              "proxy_password_file = \"/p\"; };",
                     0, "");

        ck_assert_int_eq(c->transport, CONFIG_TRANSPORT_WEBSOCKET);
        ck_assert_int_eq(c->port, 443);
        ck_assert_str_eq(c->alpn, "");
        ck_assert_int_eq(c->protocol, CONFIG_PROTOCOL_31);
        ck_assert_str_eq(c->proxy, "http://u%40@[::1]:1");
        ck_assert_str_eq(c->proxy_password_file, "/p");
        ck_assert_str_eq(c->region, "eu-west-1");
        ck_assert_str_eq(c->ca_file, below("ca"));
        ck_assert_str_eq(c->aws_credentials_file, below("aws"));
}
END_TEST

START_TEST(key_in_a_token) {
        Config *c CLEANUP(config_free) = load(
                REQUIRED "credentials = { ca_file = \"/ca\"; cert_file = \"/cert\"; key_uri = \"handle:0x81000001\"; "
                         "engine = \"tpm2tss\"; };",
                0, "");

        ck_assert_str_eq(c->key_uri, "handle:0x81000001");
        ck_assert_str_eq(c->engine, "tpm2tss");
        ck_assert_ptr_null(c->key_file);
}
END_TEST

/* Where the endpoint's name tells the region, nothing has to be set. */
static const struct Region {
        const char *endpoint, *region;
} regions[] = {
        { "x-ats.iot.eu-central-1.amazonaws.com", "eu-central-1" },
        { "x.ats.iot.cn-north-1.amazonaws.com.cn", "cn-north-1" },
        { "data.iot-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1" },
        { "iot.us-east-1.amazonaws.com", NULL },
        { "x-ats.iot.example.amazonaws.com", NULL },
        { "x-ats.iot.eu-central-1", NULL },
        { "x.iotx.eu-central-1.amazonaws.com", NULL },
        { "broker.example", NULL },
        { "fe80::1", NULL },
};

START_TEST(region_of_the_endpoint) {
        Config *c CLEANUP(config_free) = NULL;
        char text[256], reports[512];

        (void) snprintf(text, sizeof text,
                        "thing_name = \"t\"; endpoint = \"%s\"; credentials = { ca_file = \"/ca\"; };\n"
                        "connection = { transport = \"websocket\"; };",
                        regions[_i].endpoint);
        (void) snprintf(reports, sizeof reports,
                        "error agent.conf:2: credentials.region: missing; connection.transport \"websocket\" signs for a "
                        "region, and the endpoint %s does not tell which\n",
                        regions[_i].endpoint);
        c = load(text, regions[_i].region ? 0 : -EINVAL, regions[_i].region ? "" : reports);
        if (c)
                ck_assert_str_eq(c->region, regions[_i].region);
}
END_TEST

static const struct Derived {
        const char *text;
        const char *alpn;
        int64_t publish_rate;
} derived[] = {
        { "thing_name = \"t\"; endpoint = \"x-ats.iot.eu-central-1.amazonaws.com\"; " CREDENTIALS, "", 50 },
        { "thing_name = \"t\"; endpoint = \"x.ats.iot.cn-north-1.amazonaws.com.cn\"; " CREDENTIALS, "", 50 },
        { "thing_name = \"t\"; endpoint = \"amazonaws.com.example\"; port = 443; " CREDENTIALS,
          "x-amzn-mqtt-ca", 0 },
        { BASE "port = 443; connection = { alpn = \"\"; publish_rate = 0; };", "", 0 },
        { BASE "port = 443; connection = { alpn = \"h2\"; publish_rate = 3; };", "h2", 3 },
        { REQUIRED "port = 443; credentials = { ca_file = \"/ca\"; username = \"u\"; };", "mqtt", 0 },
        { REQUIRED "port = 8443; credentials = { ca_file = \"/ca\"; username = \"u\"; };", "", 0 },
        { BASE "connection = { alpn = \"mqtt\"; };", "mqtt", 0 },
        { REQUIRED "connection = { transport = \"websocket\"; }; credentials = { ca_file = \"/ca\"; username = \"u\"; };",
          "", 0 },
        { REQUIRED "port = 443; connection = { transport = \"websocket\"; alpn = \"mqtt\"; }; "
                   "credentials = { ca_file = \"/ca\"; username = \"u\"; };",
          "mqtt", 0 },
};

START_TEST(derived_values) {
        Config *c CLEANUP(config_free) = load(derived[_i].text, 0, "");

        ck_assert_str_eq(c->alpn, derived[_i].alpn);
        ck_assert_int_eq(c->publish_rate, derived[_i].publish_rate);
}
END_TEST

START_TEST(one_handler_directory) {
        Config *c CLEANUP(config_free) = load(BASE "handlers = { directory = \"/h\"; };", 0, "");

        ck_assert_str_eq(c->handler_directories[0], "/h");
        ck_assert_ptr_null(c->handler_directories[1]);
}
END_TEST

START_TEST(credential_names) {
        Config *c CLEANUP(config_free) = NULL;

        ck_assert_int_eq(mkdir(below("credentials"), 0755), 0);
        ck_assert_int_eq(setenv("CREDENTIALS_DIRECTORY", below("credentials"), 1), 0);
        write_text("credentials/here.pem", "");
        write_text("credentials/sub", "");
        c = load(REQUIRED "credentials = { ca_file = \"here.pem\"; cert_file = \"absent.pem\"; key_file = "
                          "\"./here.pem\"; };",
                 0, "");
        ck_assert_str_eq(c->ca_file, below("credentials/here.pem"));
        ck_assert_str_eq(c->cert_file, below("absent.pem"));
        ck_assert_str_eq(c->key_file, below("./here.pem"));
}
END_TEST

START_TEST(directories_from_environment) {
        Config *c CLEANUP(config_free) = NULL;
        Config *d CLEANUP(config_free) = NULL;

        ck_assert_int_eq(setenv("STATE_DIRECTORY", "/from/state:/second", 1), 0);
        ck_assert_int_eq(setenv("RUNTIME_DIRECTORY", "/from/runtime", 1), 0);
        c = load(BASE, 0, "");
        ck_assert_str_eq(c->state_directory, "/from/state");
        ck_assert_str_eq(c->runtime_directory, "/from/runtime");
        d = load(BASE "state_directory = \"/key\";", 0, "");
        ck_assert_str_eq(d->state_directory, "/key");
        ck_assert_int_eq(setenv("RUNTIME_DIRECTORY", "relative", 1), 0);
        (void) load(BASE, -EINVAL,
                    "error agent.conf: runtime_directory: value \"relative\" of $RUNTIME_DIRECTORY: not "
                    "valid; allowed: an absolute "
                    "path\n");
}
END_TEST

START_TEST(relative_file_name) {
        Config *c CLEANUP(config_free) = NULL;
        char cwd[PATH_MAX];

        write_text("agent.conf", BASE);
        ck_assert_ptr_nonnull(getcwd(cwd, sizeof cwd));
        ck_assert_int_eq(chdir(dir), 0);
        ck_assert_int_eq(config_load("agent.conf", NULL, NULL, &c), 0);
        ck_assert_int_eq(chdir(cwd), 0);
        ck_assert_str_eq(c->file, file);
}
END_TEST

START_TEST(included_file) {
        Config *c CLEANUP(config_free) = NULL;

        write_text("jobs.conf", "max_concurrent = 3;\n  @include \"more.conf\"\n");
        write_text("more.conf",
                   "# nothing but\nmax_concurent = 3; on_orphan = \"x\"; poll_interval = 2147483648;\n");
        (void) load(BASE "jobs = {\n@include \"jobs.conf\"\n};", -EINVAL,
                    "warning more.conf:2: jobs.max_concurent: unknown key, ignored (did you mean "
                    "jobs.max_concurrent?)\n"
                    "error more.conf:2: jobs.on_orphan: value \"x\": not known; allowed: \"fail\", \"run\", "
                    "\"leave\"\n"
                    "error more.conf:2: jobs.poll_interval: value 2147483648: outside 32 bits; allowed: 0 to "
                    "604800 seconds, 0 for "
                    "never\n");
        write_text("more.conf", "on_orphan = \"run\";");
        c = load(BASE "jobs = {\n@include \"jobs.conf\"\n};", 0, "");
        ck_assert_int_eq(c->max_concurrent, 3);
        ck_assert_int_eq(c->on_orphan, CONFIG_ORPHAN_RUN);
}
END_TEST

/* libconfig 1.5 would look for DIRECTORY//etc/absent. */
START_TEST(include_absolute) {
        write_text("jobs.conf", "jobs = { max_concurrent = 3; };\n");
        (void) load(BASE "\n@include \"/etc/absent.conf\"", -EINVAL,
                    "error agent.conf:3: @include: value \"/etc/absent.conf\": an absolute name; allowed: a "
                    "name relative to \n");
}
END_TEST

START_TEST(include_depth) {
        char name[16], text[64];

        for (int i = 1; i <= CONFIG_INCLUDE_DEPTH_MAX; i++) {
                (void) snprintf(name, sizeof name, "%d.conf", i);
                (void) snprintf(text, sizeof text,
                                i < CONFIG_INCLUDE_DEPTH_MAX - 1 ? "\n@include \"%d.conf\"" : "port = 1;",
                                i + 1);
                write_text(name, text);
        }
        (void) config_free(load(BASE "@include \"1.conf\"", 0, ""));
        write_text("9.conf", "\n@include \"10.conf\"");
        (void) load(BASE "@include \"1.conf\"", -EINVAL, "error 9.conf:2: @include nested deeper than 10\n");
}
END_TEST

/* ---- bad files ---- */

#define TIMEOUT_ALLOWED "; allowed: 0 to 31536000 seconds, 0 for none\n"
#define PROXY_ALLOWED                                                                                        \
        ": not valid; allowed: \"http://[user@]host:port\", the user percent-encoded, the password in "      \
        "connection.proxy_password_file\n"
#define ENVIRONMENT_ALLOWED                                                                                  \
        ": not valid; allowed: NAME=value, NAME of [A-Za-z_][A-Za-z0-9_]* and not IOT_JOB_*\n"

/* clang-format off */

/* The value stands in line 2. */
static const struct BadFile {
        const char *text, *reports;
} bad[] = {
        /* integers that libconfig misreads */
        { "port = 4294967296;", "error agent.conf:2: port: value 4294967296: outside 32 bits; allowed: 1 to 65535\n" },
        { "port = 4294976179;", "error agent.conf:2: port: value 4294976179: outside 32 bits; allowed: 1 to 65535\n" },
        { "port = 2147483648;", "error agent.conf:2: port: value 2147483648: outside 32 bits; allowed: 1 to 65535\n" },
        { "port = -2147483649;", "error agent.conf:2: port: value -2147483649: outside 32 bits; allowed: 1 to 65535\n" },
        { "port = -2147483648;", "error agent.conf:2: port: value -2147483648: out of range; allowed: 1 to 65535\n" },
        { "port = 4294976179L;", "error agent.conf:2: port: value 4294976179L: outside 32 bits; allowed: 1 to 65535\n" },
        { "port = 99999999999999999999;",
          "error agent.conf:2: port: value 99999999999999999999: outside 32 bits; allowed: 1 to 65535\n" },
        { "port = 0x1000022B3;", "error agent.conf:2: port: value 0x1000022B3: outside 32 bits; allowed: 1 to 65535\n" },
        { "handlers : { /* { */ timeout timeout = 1; };", "error agent.conf:2: syntax error\n" },
        { "# x = \"{ \n/* \" */ handlers : { kill_grace = 1; // {\n timeout = 4294967297; };",
          "error agent.conf:4: handlers.timeout: value 4294967297: outside 32 bits" TIMEOUT_ALLOWED },
        { "handlers = { override = ( { name = \"a\"; }, { name = \"b\"; timeout = 4294967297; } ); };",
          "error agent.conf:2: handlers.override[1].timeout: value 4294967297: outside 32 bits; allowed: 0 to 31536000 seconds\n" },

        /* other numbers */
        { "port = 2147483647;", "error agent.conf:2: port: value 2147483647: out of range; allowed: 1 to 65535\n" },
        { "port = 0;", "error agent.conf:2: port: value 0: out of range; allowed: 1 to 65535\n" },
        { "port = -1;", "error agent.conf:2: port: value -1: out of range; allowed: 1 to 65535\n" },
        { "port = 1.5;", "error agent.conf:2: port: value 1.5: not an integer; allowed: 1 to 65535\n" },
        { "port = \"8883\";", "error agent.conf:2: port: value \"8883\": not an integer; allowed: 1 to 65535\n" },
        { "port = true;", "error agent.conf:2: port: value true: not an integer; allowed: 1 to 65535\n" },
        { "port = [ 8883 ];", "error agent.conf:2: port: value [ ... ]: not an integer; allowed: 1 to 65535\n" },
        { "jobs = { max_concurrent = 11; };",
          "error agent.conf:2: jobs.max_concurrent: value 11: out of range; allowed: 1 to 10\n" },
        { "connection = { qos = 2; };", "error agent.conf:2: connection.qos: value 2: out of range; allowed: 0 to 1\n" },

        /* strings */
        { "client_id = 3;",
          "error agent.conf:2: client_id: value 3: not a string; allowed: 1 to 128 bytes of UTF-8 without control characters\n" },
        { "client_id = \"\";",
          "error agent.conf:2: client_id: value \"\": not valid; allowed: 1 to 128 bytes of UTF-8 without control characters\n" },
        { "client_id = \"a\\nb\";",
          "error agent.conf:2: client_id: value \"a?b\": not valid; allowed: 1 to 128 bytes of UTF-8 without control characters\n" },
        { "connection = { clean_session = 1; };",
          "error agent.conf:2: connection.clean_session: value 1: not a boolean; allowed: true, false\n" },
        { "connection = { protocol = 5; };",
          "error agent.conf:2: connection.protocol: value 5: not a string; allowed: \"3.1\", \"3.1.1\", \"5\"\n" },
        { "connection = { protocol = \"4\"; };",
          "error agent.conf:2: connection.protocol: value \"4\": not known; allowed: \"3.1\", \"3.1.1\", \"5\"\n" },
        { "log = { level = \"verbose\"; };", "error agent.conf:2: log.level: value \"verbose\": not known; allowed: \"debug\", \"info\", "
                                             "\"notice\", \"warning\", \"error\"\n" },
        { "state_directory = \"state\";",
          "error agent.conf:2: state_directory: value \"state\": not valid; allowed: an absolute path\n" },
        { "handlers = { directories = [ \"/a\", \"b\" ]; };",
          "error agent.conf:2: handlers.directories[1]: value \"b\": not valid; allowed: an absolute path\n" },
        { "handlers = { directories = [ ]; };",
          "error agent.conf:2: handlers.directories: value [ ]: empty; allowed: at least one absolute path\n" },
        { "handlers = { directories = \"/a\"; };",
          "error agent.conf:2: handlers.directories: value \"/a\": not a list; allowed: a list [ \"...\" ] of strings: an absolute path\n" },
        { "handlers = { directories = [ \"/a\" ];\n directory = \"/b\"; };",
          "error agent.conf:3: handlers.directory: set together with handlers.directories (line 2); allowed: one of the two\n" },
        { "policy = { paths = [ \"opt\" ]; };",
          "error agent.conf:2: policy.paths[0]: value \"opt\": not valid; allowed: an absolute path\n" },
        { "handlers = { environment = ( \"GOOD=1\", \"1BAD=secret\", \"IOT_JOB_ID=secret\", \"NONE\", \"=secret\" ); };",
          "error agent.conf:2: handlers.environment[1]: value \"1BAD=...\"" ENVIRONMENT_ALLOWED
          "error agent.conf:2: handlers.environment[2]: value \"IOT_JOB_ID=...\"" ENVIRONMENT_ALLOWED
          "error agent.conf:2: handlers.environment[3]: value \"NONE\"" ENVIRONMENT_ALLOWED
          "error agent.conf:2: handlers.environment[4]: value \"=...\"" ENVIRONMENT_ALLOWED },
        { "handlers = { environment = [ \"AB=1\", \"A=2\", \"AB=3\" ]; };",
          "error agent.conf:2: handlers.environment[2]: value \"AB=...\": the name is there already\n" },

        /* proxies */
        { "connection = { proxy = \"https://p:1\"; };", "error agent.conf:2: connection.proxy: value \"https://p:...\"" PROXY_ALLOWED },
        { "connection = { proxy = \"p:1\"; };", "error agent.conf:2: connection.proxy: value \"p:...\"" PROXY_ALLOWED },
        { "connection = { proxy = \"http://p\"; };", "error agent.conf:2: connection.proxy: value \"http://p\"" PROXY_ALLOWED },
        { "connection = { proxy = \"http://p:0\"; };", "error agent.conf:2: connection.proxy: value \"http://p:...\"" PROXY_ALLOWED },
        { "connection = { proxy = \"http://p:65536\"; };", "error agent.conf:2: connection.proxy: value \"http://p:...\"" PROXY_ALLOWED },
        { "connection = { proxy = \"http://p:1/\"; };", "error agent.conf:2: connection.proxy: value \"http://p:...\"" PROXY_ALLOWED },
        { "connection = { proxy = \"http://:1\"; };", "error agent.conf:2: connection.proxy: value \"http://:...\"" PROXY_ALLOWED },
        { "connection = { proxy = \"http://@p:1\"; };", "error agent.conf:2: connection.proxy: value \"http://@p:...\"" PROXY_ALLOWED },
        { "connection = { proxy = \"http://u:secret@p:1\"; };",
          "error agent.conf:2: connection.proxy: value \"http://u:...\"" PROXY_ALLOWED },
        { "connection = { proxy = \"http://[p]:1\"; };", "error agent.conf:2: connection.proxy: value \"http://[p]:...\"" PROXY_ALLOWED },
        { "connection = { proxy = \"http://::1:1\"; };", "error agent.conf:2: connection.proxy: value \"http://:...\"" PROXY_ALLOWED },
        { "connection = { proxy_password_file = \"/p\"; };",
          "error agent.conf:2: connection.proxy_password_file: needs connection.proxy, which is missing\n" },
        { "connection = { proxy = \"http://p:1\"; proxy_password_file = \"/p\"; };",
          "error agent.conf:2: connection.proxy_password_file: needs a user in connection.proxy: \"http://user@host:port\"\n" },

        /* groups */
        { "jobs = 3;", "error agent.conf:2: jobs: value 3: not a group; allowed: jobs = { ... };\n" },
        { "handlers = { override = { name = \"a\"; }; };", "error agent.conf:2: handlers.override: value { ... }: not a list; allowed: a "
                                                           "list ( { ... }, ... ) of groups\n" },
        { "handlers = { override = ( { timeout = 1; } ); };", "error agent.conf:2: handlers.override[0].name: missing\n" },
        { "handlers = { override = ( { name = \"a/b\"; } ); };",
          "error agent.conf:2: handlers.override[0].name: value \"a/b\": not valid; allowed: 1 to 64 characters of [A-Za-z0-9._+-], the "
          "first not a dot\n" },
        { "handlers = { override = ( { name = \"a\"; }, { name = \"a\"; } ); };",
          "error agent.conf:2: handlers.override[1].name: value \"a\": there already, as handlers.override[0]\n" },
        { "handlers = { override = ( { name = \"a\"; }, 3 ); };",
          "error agent.conf:2: handlers.override[1]: value 3: not a group; allowed: a list ( { ... }, ... ) of groups\n" },
        { "connection = { reconnect_min = 10; reconnect_max = 9; };",
          "error agent.conf:2: connection.reconnect_min: value 10: larger than connection.reconnect_max (9)\n" },
        { "connection = { reconnect_min = 129; };",
          "error agent.conf:2: connection.reconnect_min: value 129: larger than connection.reconnect_max (128)\n" },

        /* syntax */
        { "port = 1\nport = 2;", "error agent.conf:3: port: set twice; allowed: once\n" },
        { "jobs = { max_concurrent = 1; };\nlog = { };\njobs : { on_orphan = \"run\"; };",
          "error agent.conf:4: jobs: set twice; allowed: once\n" },
        { "log = { level = \"info\"; redact = []; level\t= \"debug\"; };",
          "error agent.conf:2: log.level: set twice; allowed: once\n" },
        { "port 1;", "error agent.conf:2: syntax error\n" },
        { "jobs.max_concurrent = 2;",
          "error agent.conf:2: syntax error; a dotted name is a group: write group = { name = value; };\n" },
        { "@include \"a\\b\"", "error agent.conf:2: @include: a file name in double quotes without \\ expected\n" },
        { "handlers = { reboot_command = ( ); };",
          "error agent.conf:2: handlers.reboot_command: value ( ... ): empty; allowed: a list [ \"...\" ] of strings: a program and its "
          "arguments\n" },
        { "handlers = { user = \"a b\"; };", "error agent.conf:2: handlers.user: value \"a b\": not valid; allowed: a user name\n" },
        { "qos = 1; @include \"absent.conf\"", "error agent.conf:2: syntax error\n" },
        { "@include \"agent.conf\"", "error agent.conf:2: @include nested deeper than 10\n" },
        { "x = (((((((((((((((((1)))))))))))))))));", "error agent.conf:2: groups and lists nested deeper than 16\n" },
};

/* clang-format on */

START_TEST(bad_file) {
        CLEANUP_BUF Buf text = { 0 };

        buf_printf(&text, "%s%s\n", BASE, bad[_i].text);
        (void) load(text.data, -EINVAL, bad[_i].reports);
}
END_TEST

/* clang-format off */

/* clang-format on */

START_TEST(members_are_checked) {
        (void) load(BASE "handlers = { exit_codes = ( { code = 256; outcome = \"retry\"; }, { code = 1; "
                         "outcome = \"x\"; },\n"
                         "{ code = 1; from = 2; to = 3; outcome = \"retry\"; }, { from = 3; to = 2; outcome "
                         "= \"retry\"; }, { code = 1; } );\n"
                         "override = ( { name = \"a\"; memory_max = \"1X\"; cpu_weight = 0; } ); };\n"
                         "facts = { n = 1; };",
                    -EINVAL,
                    "error agent.conf:2: handlers.exit_codes[0].code: value 256: out of range; allowed: 0 to "
                    "255\n"
                    "error agent.conf:2: handlers.exit_codes[1].outcome: value \"x\": not known; allowed: "
                    "\"success\", \"failure\", "
                    "\"retry\", \"reboot\", \"reject\"\n"
                    "error agent.conf:3: handlers.exit_codes[2]: either code, or from and to, expected\n"
                    "error agent.conf:3: handlers.exit_codes[3].from: value 3: larger than "
                    "handlers.exit_codes[3].to (2)\n"
                    "error agent.conf:3: handlers.exit_codes[4].outcome: missing\n"
                    "error agent.conf:4: handlers.override[0].memory_max: value \"1X\": not valid; allowed: "
                    "bytes (1M at least) as digits with or without K, M, G or T, \"1%\" to \"100%\", or \"infinity\"\n"
                    "error agent.conf:4: handlers.override[0].cpu_weight: value 0: out of range; allowed: 1 "
                    "to 10000\n"
                    "error agent.conf:5: facts.n: value 1: not a string; allowed: strings\n");
}
END_TEST

START_TEST(required_keys) {
        (void) load("", -EINVAL,
                    "error agent.conf: thing_name: missing; allowed: 1 to 128 characters of [a-zA-Z0-9:_-]\n"
                    "error agent.conf: endpoint: missing; allowed: a host name or an IP address, without "
                    "scheme, port or path\n"
                    "error agent.conf: credentials.ca_file: missing; allowed: a file name\n"
                    "warning agent.conf: credentials: neither cert_file and key_file nor username is set: "
                    "the broker has to let "
                    "everyone in\n");
}
END_TEST

START_TEST(required_values) {
        (void) load("thing_name = \"a b\";\nendpoint = \"mqtts://x:8883/\";\n" CREDENTIALS, -EINVAL,
                    "error agent.conf:1: thing_name: value \"a b\": not valid; allowed: 1 to 128 characters "
                    "of [a-zA-Z0-9:_-]\n"
                    "error agent.conf:2: endpoint: value \"mqtts://x:8883/\": not valid; allowed: a host "
                    "name or an IP address, without "
                    "scheme, port or path\n");
        (void) load("thing_name = \"\";\nendpoint = \"x:8883\";\n" CREDENTIALS, -EINVAL,
                    "error agent.conf:1: thing_name: value \"\": not valid; allowed: 1 to 128 characters of "
                    "[a-zA-Z0-9:_-]\n"
                    "error agent.conf:2: endpoint: value \"x:8883\": not valid; allowed: a host name or an "
                    "IP address, without scheme, "
                    "port or path\n");
}
END_TEST

START_TEST(thing_name_length) {
        char name[130], text[512];

        memset(name, 'x', sizeof name);
        name[129] = '\0';
        (void) snprintf(text, sizeof text, "thing_name = \"%s\"; endpoint = \"e\"; " CREDENTIALS, name);
        (void) load(text, -EINVAL,
                    "error agent.conf:1: thing_name: value "
                    "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...\":"
                    " not valid; allowed: 1 to 128 "
                    "characters of [a-zA-Z0-9:_-]\n");
        name[128] = '\0';
        (void) snprintf(text, sizeof text, "thing_name = \"%s\"; endpoint = \"e\"; " CREDENTIALS, name);
        (void) config_free(load(text, 0, ""));
}
END_TEST

START_TEST(credentials_belong_together) {
        (void) load(
                REQUIRED "credentials = { ca_file = \"/ca\";\nkey_file = \"/key\"; };", -EINVAL,
                "error agent.conf:2: credentials.key_file: needs credentials.cert_file, which is missing\n");
        (void) load(
                REQUIRED "credentials = { ca_file = \"/ca\";\ncert_file = \"/cert\"; };", -EINVAL,
                "error agent.conf:2: credentials.cert_file: needs credentials.key_file, which is missing\n");
        (void) load(REQUIRED "credentials = { ca_file = \"/ca\";\npassword_file = \"/p\"; };", -EINVAL,
                    "error agent.conf:2: credentials.password_file: needs credentials.username, which is "
                    "missing\n"
                    "warning agent.conf: credentials: neither cert_file and key_file nor username is set: "
                    "the broker has to let "
                    "everyone in\n");
        (void) load(REQUIRED "credentials = { cert_file = \"/cert\"; key_file = \"/key\"; };", -EINVAL,
                    "error agent.conf: credentials.ca_file: missing; allowed: a file name\n");
}
END_TEST

static const struct Combination {
        const char *credentials, *connection;
        int result;
        const char *reports;
} combinations[] = {
        { "cert_file = \"/c\"; key_file = \"/k\";\nkey_uri = \"pkcs11:object=k\";", "", -EINVAL,
          "error agent.conf:2: credentials.key_uri: set together with credentials.key_file (line 1); allowed: one of the two\n" },
        { "key_uri = \"pkcs11:object=k\";", "", -EINVAL,
          "error agent.conf:1: credentials.key_uri: needs credentials.cert_file, which is missing\n" },
        { "cert_file = \"/c\"; key_file = \"/k\"; engine = \"pkcs11\";", "", -EINVAL,
          "error agent.conf:1: credentials.engine: needs credentials.key_uri, which is missing\n" },
        { "cert_file = \"/c\"; key_uri = \"pkcs11:object=k?pin-value=1234\";", "", 0,
          "warning agent.conf:1: credentials.key_uri: has a PIN in it, for everyone who can read this file; better: "
          "pin-source=file:/... in its place\n" },
        { "cert_file = \"/c\"; key_uri = \"/k\";", "", -EINVAL,
          "error agent.conf:1: credentials.key_uri: value \"/k\": not valid; allowed: a URI, such as "
          "\"pkcs11:token=...;object=...\" or \"handle:0x81000001\"\n" },
        { "cert_file = \"/c\"; key_file = \"/k\"; aws_credentials_file = \"/a\";", "", 0,
          "warning agent.conf:1: credentials.aws_credentials_file: has no effect without connection.transport "
          "\"websocket\"\n" },
        { "region = \"eu-west-1\"; username = \"u\"; aws_credentials_file = \"/a\";", "transport = \"websocket\";", 0,
          "warning agent.conf:1: credentials.aws_credentials_file: has no effect with credentials.username, which replaces "
          "the signature\n" },
        { "region = \"eu-west-1\"; cert_file = \"/c\"; key_file = \"/k\";", "transport = \"websocket\";", 0,
          "warning agent.conf:1: credentials.cert_file: on a WebSocket AWS IoT takes no certificate; what counts there are "
          "AWS credentials, or credentials.username\n" },
        { "region = \"eu-west-1\"; key_file = \"/k\";", "transport = \"websocket\";", -EINVAL,
          "error agent.conf:1: credentials.key_file: needs credentials.cert_file, which is missing\n" },
        { "region = \"eu west\";", "transport = \"websocket\";", -EINVAL,
          "error agent.conf:1: credentials.region: value \"eu west\": not valid; allowed: 1 to 31 characters of [A-Za-z0-9-]\n" },
};

START_TEST(credentials_that_do_not_go_together) {
        const struct Combination *k = &combinations[_i];
        CLEANUP_BUF Buf text = { 0 };

        buf_printf(&text, REQUIRED "credentials = { ca_file = \"/ca\"; %s };\nconnection = { %s };", k->credentials,
                   k->connection);
        (void) config_free(load(text.data, k->result, k->reports));
}
END_TEST

START_TEST(unknown_keys) {
        Config *c CLEANUP(config_free) = load(
                BASE "colour = \"red\";\nmax_concurrent = 2;\njobs = { mxa_concurent = 3; nonsense = { a "
                     "= 1; }; };\n"
                     "handlers = { override = ( { name = \"a\"; time_out = 1; } ); };\nendpiont = \"x\";",
                0,
                "warning agent.conf:2: colour: unknown key, ignored\n"
                "warning agent.conf:3: max_concurrent: unknown key, ignored (did you mean "
                "jobs.max_concurrent?)\n"
                "warning agent.conf:4: jobs.mxa_concurent: unknown key, ignored (did you mean "
                "jobs.max_concurrent?)\n"
                "warning agent.conf:4: jobs.nonsense: unknown key, ignored\n"
                "warning agent.conf:5: handlers.override[0].time_out: unknown key, ignored (did you "
                "mean timeout?)\n"
                "warning agent.conf:6: endpiont: unknown key, ignored (did you mean endpoint?)\n");

        ck_assert_int_eq(c->max_concurrent, 1);
}
END_TEST

/* The key of an unknown name may be as long as it likes. */
START_TEST(long_names) {
        CLEANUP_BUF Buf text = { 0 }, reports = { 0 };
        char name[1000];

        memset(name, 'n', sizeof name);
        buf_printf(&text, BASE "jobs = { %.999s = 4294967296; };", name);
        buf_printf(&reports, "warning agent.conf:2: jobs.%.247s...: unknown key, ignored\n", name);
        (void) config_free(load(text.data, 0, reports.data));
}
END_TEST

START_TEST(long_list) {
        CLEANUP_BUF Buf text = { 0 };

        buf_puts(&text, BASE "log = { redact = ( \"p0\"");
        for (int i = 1; i <= CONFIG_LIST_MAX; i++)
                buf_printf(&text, ", \"p%d\"", i);
        buf_puts(&text, "); };");
        (void) load(text.data, -EINVAL,
                    "error agent.conf:2: log.redact: 129 entries; allowed: at most 128\n");
}
END_TEST

START_TEST(unreadable_files) {
        CLEANUP_BUF Buf b = { 0 };
        Config *c = NULL;
        char large[4096];

        ck_assert_int_eq(config_load(file, collect, &b, &c), -ENOENT);
        ck_assert_str_eq(b.data, "error agent.conf: cannot be read: No such file or directory\n");
        buf_clear(&b);
        ck_assert_int_eq(mkfifo(below("fifo"), 0644), 0);
        ck_assert_int_eq(config_load(below("fifo"), collect, &b, &c), -EINVAL);
        ck_assert_str_eq(b.data, "error fifo: cannot be read: not a regular file\n");
        buf_clear(&b);
        ck_assert_int_eq(config_load(dir, collect, &b, &c), -EINVAL);
        ck_assert_str_eq(b.data, "error : cannot be read: not a regular file\n");
        buf_clear(&b);
        write_bytes("nul.conf", "port = 1;\0", 10);
        ck_assert_int_eq(config_load(below("nul.conf"), collect, &b, &c), -EINVAL);
        ck_assert_str_eq(b.data, "error nul.conf: contains a NUL byte\n");
        buf_clear(&b);
        memset(large, '#', sizeof large);
        for (int i = 0; i < 257; i++) {
                FILE *f = fopen(below("large.conf"), "ae");

                ck_assert_ptr_nonnull(f);
                ck_assert_uint_eq(fwrite(large, 1, sizeof large, f), sizeof large);
                ck_assert_int_eq(fclose(f), 0);
        }
        ck_assert_int_eq(config_load(below("large.conf"), collect, &b, &c), -EFBIG);
        ck_assert_str_eq(b.data, "error large.conf: larger than 1048576 bytes\n");
        ck_assert_ptr_null(c);
        (void) load(BASE "@include \"absent.conf\"", -ENOENT,
                    "error agent.conf:2: @include: absent.conf: cannot be read: No such file or directory\n");
}
END_TEST

/* ---- files named by the configuration ---- */

#define PEM(label) "-----BEGIN " label "-----\nAAAA\n-----END " label "-----\n"

START_TEST(credential_files) {
        Config *c CLEANUP(config_free) = NULL;
        CLEANUP_BUF Buf b = { 0 };

        ck_assert_int_eq(mkdir(below("handlers"), 0755), 0);
        write_text("ca", PEM("CERTIFICATE"));
        write_text("cert", "text before\n" PEM("CERTIFICATE") PEM("CERTIFICATE"));
        write_text("key", PEM("EC PARAMETERS") PEM("EC PRIVATE KEY"));
        write_text("password", "secret\n");
        ck_assert_int_eq(chmod(below("key"), 0600), 0);
        ck_assert_int_eq(chmod(below("password"), 0640), 0);
        c = load(REQUIRED "credentials = { ca_file = \"ca\"; cert_file = \"cert\"; key_file = \"key\"; "
                          "username = \"u\"; "
                          "password_file = \"password\"; };",
                 0, "");
        free(c->handler_directories[0]);
        c->handler_directories[0] = strdup(below("handlers"));
        ck_assert_int_eq(config_check_files(c, collect, &b), 0);
        ck_assert_ptr_null(b.data);
        ck_assert_int_eq(chmod(below("key"), 0644), 0);
        ck_assert_int_eq(config_check_files(c, collect, &b), 0);
        ck_assert_str_eq(b.data, "warning agent.conf: credentials.key_file: value \"key\": everyone on this "
                                 "machine can read or change "
                                 "it; chmod o= it\n");
        buf_done(&b);
        b = (Buf){ 0 };
        ck_assert_int_eq(chmod(below("key"), 0600), 0);
        ck_assert_int_eq(chmod(file, 0666), 0);
        ck_assert_int_eq(config_check_files(c, collect, &b), -EINVAL);
        ck_assert_str_eq(b.data,
                         "error agent.conf: writable by its group or by others (mode 0666); chmod go-w it\n");
}
END_TEST

START_TEST(bad_credential_files) {
        Config *c CLEANUP(config_free) =
                load(REQUIRED "credentials = { ca_file = \"ca\"; cert_file = \"cert\"; key_file = \"key\"; "
                              "username = \"u\"; password_file = \"password\"; };\n"
                              "handlers = { directories = [ \"/nonexistent-handlers\" ]; };",
                     0, "");
        CLEANUP_BUF Buf b = { 0 };

        ck_assert_int_eq(mkdir(below("cert"), 0755), 0);
        write_text("key", PEM("CERTIFICATE"));
        write_text("password", "\n");
        ck_assert_int_eq(config_check_files(c, collect, &b), -EINVAL);
        ck_assert_str_eq(b.data,
                         "error agent.conf: credentials.ca_file: value \"ca\": cannot be read: No such file "
                         "or directory; allowed: a file "
                         "the agent may read\n"
                         "error agent.conf: credentials.cert_file: value \"cert\": not a regular file\n"
                         "error agent.conf: credentials.key_file: value \"key\": not PEM: no \"-----BEGIN "
                         "... PRIVATE KEY-----\" in it\n"
                         "error agent.conf: credentials.password_file: value \"password\": empty; allowed: a "
                         "file with a secret in it\n"
                         "warning agent.conf: handlers.directories: value \"/nonexistent-handlers\": No such "
                         "file or directory\n");
}
END_TEST

/* ---- trust ---- */

static void expect_trust(const char *path, int expected, const char *text) {
        Error e = { 0 };
        int r = config_check_trust(path, getuid(), &e);
        const char *at = strstr(e.text, dir);

        ck_assert_msg(r == expected, "%s: %d %s", path, r, e.text);
        if (expected < 0)
                ck_assert_str_eq(at ? at + strlen(dir) : e.text, text);

        /* Who loads it at once gets the same verdict, and reads nothing else before. */
        Config *c CLEANUP(config_free) = NULL;
        CLEANUP_BUF Buf reports = { 0 };
        Error at_once = { 0 };

        r = config_load_trusted(path, getuid(), collect, &reports, &c, &at_once);
        ck_assert_int_eq(at_once.code, e.code);
        ck_assert_str_eq(at_once.text, e.text);
        if (expected < 0)
                ck_assert(r == expected && !reports.data && !c);
        else
                ck_assert((r == 0 && c) || (r == -EINVAL && reports.data && !c));
}

START_TEST(trust_file) {
        write_text("agent.conf", BASE);
        expect_trust(file, 0, "");
        ck_assert_int_eq(chmod(file, 0664), 0);
        expect_trust(file, -EPERM,
                     "/agent.conf: writable by its group or by others (mode 0664); chmod go-w it");
        ck_assert_int_eq(chmod(file, 0646), 0);
        expect_trust(file, -EPERM,
                     "/agent.conf: writable by its group or by others (mode 0646); chmod go-w it");
        ck_assert_int_eq(chmod(file, 0600), 0);
        expect_trust(file, 0, "");
        expect_trust(below("absent.conf"), -ENOENT, "/absent.conf: No such file or directory");
}
END_TEST

START_TEST(trust_directories) {
        ck_assert_int_eq(mkdir(below("a"), 0755), 0);
        ck_assert_int_eq(mkdir(below("a/b"), 0755), 0);
        write_text("a/b/c.conf", BASE);
        expect_trust(below("a/b/c.conf"), 0, "");
        expect_trust(below("./a//b/../b/c.conf"), 0, "");
        ck_assert_int_eq(chmod(below("a"), 0777), 0);
        expect_trust(below("a/b/c.conf"), -EPERM,
                     "/a: writable by its group or by others (mode 0777); chmod go-w it");
        ck_assert_int_eq(chmod(below("a"), 01777), 0);
        expect_trust(below("a/b/c.conf"), 0, "");
}
END_TEST

START_TEST(trust_links) {
        ck_assert_int_eq(mkdir(below("a"), 0755), 0);
        ck_assert_int_eq(mkdir(below("open"), 0755), 0);
        write_text("a/c.conf", BASE);
        ck_assert_int_eq(symlink("a", below("relative")), 0);
        ck_assert_int_eq(symlink(below("relative/c.conf"), below("absolute")), 0);
        ck_assert_int_eq(symlink("loop", below("loop")), 0);
        ck_assert_int_eq(symlink("../a/c.conf", below("open/link")), 0);
        expect_trust(below("absolute"), 0, "");
        expect_trust(below("loop"), -ELOOP, "/loop: Too many levels of symbolic links");
        expect_trust(below("open/link"), 0, "");
        ck_assert_int_eq(chmod(below("open"), 0777), 0); /* who may write there may turn the link */
        expect_trust(below("open/link"), -EPERM,
                     "/open: writable by its group or by others (mode 0777); chmod go-w it");
        ck_assert_int_eq(chmod(below("a"), 0775), 0);
        expect_trust(below("absolute"), -EPERM,
                     "/a: writable by its group or by others (mode 0775); chmod go-w it");
}
END_TEST

START_TEST(trust_includes) {
        write_text("agent.conf", "jobs = {\n@include \"jobs.conf\"\n};\n# @include \"absent\"\nx = "
                                 "\"\n@include \\\"absent\\\"\";\n");
        write_text("jobs.conf", "@include \"deep.conf\"\n");
        write_text("deep.conf", "max_concurrent = 1;\n");
        expect_trust(file, 0, "");
        ck_assert_int_eq(chmod(below("deep.conf"), 0666), 0);
        expect_trust(file, -EPERM,
                     "/deep.conf: writable by its group or by others (mode 0666); chmod go-w it");
}
END_TEST

START_TEST(trust_owner) {
        Error e = { 0 };

        if (getuid() != 0)
                UNIT_SKIP("only root can give a file away");
        write_text("agent.conf", BASE);
        ck_assert_int_eq(chown(file, 12345, 0), 0);
        ck_assert_int_eq(config_check_trust(file, 0, &e), -EPERM);
        ck_assert_str_eq(strstr(e.text, "/agent.conf"),
                         "/agent.conf: belongs to user 12345; it must belong to root");
        ck_assert_int_eq(config_check_trust(file, 12345, &e), 0);
        ck_assert_int_eq(config_check_trust(file, 4, &e), -EPERM);
        ck_assert_str_eq(strstr(e.text, "/agent.conf"),
                         "/agent.conf: belongs to user 12345; it must belong to root or to user 4");
}
END_TEST

/* ---- the table and what is written from it ---- */

START_TEST(table_is_sound) {
        for (const ConfigKey *k = config_keys; k->name; k++) {
                CLEANUP_BUF Buf value = { 0 };

                ck_assert_msg(config_key_find(config_keys, k->name) == k, "%s is there twice", k->name);
                ck_assert_msg(k->doc && k->doc[strlen(k->doc) - 1] == '.', "%s: doc", k->name);
                ck_assert_msg(config_key_default(k, &value) || k->example, "%s: neither default nor example",
                              k->name);
                ck_assert_msg((k->type != KEY_STRING && k->type != KEY_STRINGS && k->type != KEY_FREE) ||
                                      (k->check && k->allowed),
                              "%s: check", k->name);
                ck_assert_msg(k->type != KEY_INTEGER || k->number == -1 ||
                                      (k->number >= k->min && k->number <= k->max),
                              "%s: default out of range", k->name);
                ck_assert_msg(k->offset != KEY_NOT_STORED || strcmp(k->name, "handlers.directory") == 0, "%s: stored", k->name);
        }
}
END_TEST

/* Alternatives: the example shows each. */
static bool is_alternative(const char *key) {
        return strcmp(key, "handlers.directory") == 0 || strcmp(key, "credentials.key_file") == 0 ||
               strcmp(key, "credentials.aws_credentials_file") == 0;
}

static bool is_alternative_line(const char *line, const char *group) {
        char path[CONFIG_KEY_MAX];

        (void) snprintf(path, sizeof path, "%s%s%.*s", group, group[0] ? "." : "", (int) strcspn(line, " "),
                        line);
        ck_assert_msg(config_key_find(config_keys, path) != NULL, "%s is no key", path);
        return is_alternative(path);
}

/* The example with every key of this version brought to life loads without a word. */
START_TEST(example_loads) {
        CLEANUP_BUF Buf example = { 0 }, live = { 0 };
        char group[64] = "";
        size_t n = 0;

        ck_assert_int_eq(config_write_example(&example), 0);
        for (char *rest = example.data, *line; (line = strsep(&rest, "\n"));) {
                char *text = line + strspn(line, " ");

                if (text[0] == '#' && text[1] != ' ') {
                        if (!is_alternative_line(text + 1, group))
                                buf_printf(&live, "%s\n", text + 1);
                        n++;
                        continue;
                }
                if (text[0] != '#' && text[0])
                        (void) snprintf(group, sizeof group, "%.*s",
                                        text[0] == '}' ? 0 : (int) strcspn(text, " "), text);
                buf_printf(&live, "%s\n", line);
        }
        ck_assert_uint_eq(n, config_key_count());
        (void) config_free(load(live.data, 0, ""));
}
END_TEST

START_TEST(manual_lists_every_key) {
        CLEANUP_BUF Buf man = { 0 };

        ck_assert_int_eq(config_write_man(&man), 0);
        for (const ConfigKey *k = config_keys; k->name; k++) {
                char item[CONFIG_KEY_MAX + 16];

                (void) snprintf(item, sizeof item, ".It Ic %s\n", k->name);
                ck_assert_msg(strstr(man.data, item) != NULL, "%s", k->name);
        }
}
END_TEST

static TCase *fixture(const char *name) {
        TCase *t = tcase_create(name);

        tcase_add_checked_fixture(t, set_up, tear_down);
        return t;
}

static TCase *good_cases(void) {
        TCase *t = fixture("good");

        tcase_add_test(t, defaults);
        tcase_add_test(t, defaults_of_runner);
        tcase_add_test(t, every_value);
        tcase_add_test(t, overrides);
        tcase_add_test(t, outcomes_and_policy);
        tcase_add_test(t, no_success);
        tcase_add_test(t, every_connection);
        tcase_add_test(t, key_in_a_token);
        tcase_add_loop_test(t, region_of_the_endpoint, 0, (int) ELEMENTSOF(regions));
        tcase_add_loop_test(t, derived_values, 0, (int) ELEMENTSOF(derived));
        tcase_add_test(t, one_handler_directory);
        tcase_add_test(t, credential_names);
        tcase_add_test(t, directories_from_environment);
        tcase_add_test(t, relative_file_name);
        tcase_add_test(t, included_file);
        tcase_add_test(t, include_absolute);
        tcase_add_test(t, include_depth);
        return t;
}

static TCase *bad_cases(void) {
        TCase *t = fixture("bad");

        tcase_add_loop_test(t, bad_file, 0, (int) ELEMENTSOF(bad));
        tcase_add_test(t, members_are_checked);
        tcase_add_test(t, limits_of_an_override);
        tcase_add_loop_test(t, memory, 0, (int) ELEMENTSOF(memories));
        tcase_add_test(t, required_keys);
        tcase_add_test(t, required_values);
        tcase_add_test(t, thing_name_length);
        tcase_add_test(t, credentials_belong_together);
        tcase_add_loop_test(t, credentials_that_do_not_go_together, 0, (int) ELEMENTSOF(combinations));
        tcase_add_test(t, unknown_keys);
        tcase_add_test(t, long_names);
        tcase_add_test(t, long_list);
        tcase_add_test(t, unreadable_files);
        return t;
}

static TCase *file_cases(void) {
        TCase *t = fixture("files");

        tcase_add_test(t, credential_files);
        tcase_add_test(t, bad_credential_files);
        tcase_add_test(t, trust_file);
        tcase_add_test(t, trust_directories);
        tcase_add_test(t, trust_links);
        tcase_add_test(t, trust_includes);
        tcase_add_test(t, trust_owner);
        return t;
}

static TCase *table_cases(void) {
        TCase *t = fixture("table");

        tcase_add_test(t, table_is_sound);
        tcase_add_test(t, example_loads);
        tcase_add_test(t, manual_lists_every_key);
        return t;
}

UNIT_MAIN("config", good_cases(), bad_cases(), file_cases(), table_cases())
