/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/operator.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "sim/connection.h"
#include "sim/control.h"
#include "sim/show.h"

enum {
        ANSWER_USEC = 5 * 1000 * 1000, /* after this a server is taken for absent */
        TEMPLATE_MAX = 1 << 20,        /* a document before its placeholders are filled */
};

/* What --wait knows of one thing's execution. */
typedef struct Follow {
        int64_t number, version;
        char status[16];
        bool ended, succeeded;
} Follow;

typedef struct Operator {
        const Options *options;
        Transport *transport;
        Show show;
        char name[CONNECTION_NAME_MAX];
        char reply_topic[sizeof CONTROL_REPLY_TOPIC + CONNECTION_NAME_MAX];
        char *document;
        int64_t id;        /* of the latest request */
        uint64_t deadline; /* for its answer, or for the connection */
        size_t at;         /* thing that is created or asked about now */
        int64_t listed;
        bool was_online, following; /* following: what comes now comes by itself */
        Follow *follow;             /* one for each thing, with --wait */
        bool done;
        int exit_code;
} Operator;

static void fail(Operator *op, const char *format, ...) PRINTF_LIKE(2, 3);

static void finish(Operator *op, int exit_code) {
        op->done = true;
        op->exit_code = exit_code;
}

static void fail(Operator *op, const char *format, ...) {
        va_list ap;

        show_finish(&op->show);
        fputs("iot-jobs-sim: ", stderr);
        va_start(ap, format);
        (void) vfprintf(stderr, format, ap);
        va_end(ap);
        fputc('\n', stderr);
        finish(op, EXIT_FAILURE);
}

/* ---- requests ---- */

/* Takes `v` over. */
static void request(Operator *op, const char *verb, json_t *v) {
        json_t *whole CLEANUP_JSON = v;
        char *text CLEANUP_FREE = NULL;
        int r;

        if (!whole || json_object_set_new(whole, "verb", json_string(verb)) < 0 ||
            json_object_set_new(whole, "reply", json_string(op->name)) < 0 ||
            json_object_set_new(whole, "id", json_integer(++op->id)) < 0 ||
            !(text = json_dumps(whole, JSON_COMPACT))) {
                fail(op, "out of memory");
                return;
        }
        r = transport_publish(op->transport, CONTROL_REQUEST_TOPIC, text, strlen(text));
        if (r < 0)
                fail(op, "cannot send the request: %s", strerror(-r));
        op->deadline = clock_boottime_usec() + ANSWER_USEC;
}

static json_t *target(const Operator *op) {
        return json_pack("{s:s,s:s}", "thing", op->options->thing[op->at], "job", op->options->job);
}

static void request_create(Operator *op) {
        json_t *v = target(op);

        if (v && json_object_set_new(v, "document", json_string(op->document)) < 0) {
                json_decref(v);
                fail(op, "%s: not valid UTF-8", op->options->document);
                return;
        }
        if (v && op->options->in_progress_timeout > 0)
                (void) json_object_set_new(v, "inProgressTimeoutInMinutes",
                                           json_integer(op->options->in_progress_timeout));
        if (v)
                (void) json_object_set_new(v, "retries", json_integer(op->options->retries));
        request(op, "create", v);
}

static void request_list(Operator *op) {
        json_t *v = json_pack("{s:I}", "skip", (json_int_t) op->listed);

        if (v && op->options->n_things > 0)
                (void) json_object_set_new(v, "thing", json_string(op->options->thing[0]));
        request(op, "list", v);
}

/* The first request of each verb. */
static void start(Operator *op) {
        json_t *v;

        switch (op->options->verb) {
        case VERB_CREATE:
                request_create(op);
                break;
        case VERB_CANCEL:
        case VERB_DELETE:
                v = target(op);
                if (v)
                        (void) json_object_set_new(v, "force", json_boolean(op->options->force));
                request(op, verb_name(op->options->verb), v);
                break;
        case VERB_DESCRIBE:
                request(op, "describe", target(op));
                break;
        case VERB_LIST:
                request_list(op);
                break;
        case VERB_WATCH:
                request(op, "hello", json_object());
                break;
        case VERB_SERVE:
        case VERB_COUNT:
                assert(false);
        }
}

/* ---- --wait ---- */

static void check_all_ended(Operator *op) {
        bool succeeded = true;

        for (size_t i = 0; i < op->options->n_things; i++) {
                if (!op->follow[i].ended)
                        return;
                succeeded = succeeded && op->follow[i].succeeded;
        }
        show_finish(&op->show);
        finish(op, succeeded ? EXIT_SUCCESS : EXIT_FAILURE);
}

/* An execution as an answer or an event tells it. What is not news (an event that the answer has overtaken) is passed over.
 * `final`: see control_event(). */
static void follow_execution(Operator *op, size_t i, const json_t *x, uint64_t at, bool final) {
        Follow *f = &op->follow[i];
        const char *status = json_string_value(json_object_get(x, "status")) ?: "";
        int64_t number = json_integer_value(json_object_get(x, "executionNumber"));
        int64_t version = json_integer_value(json_object_get(x, "versionNumber"));
        bool deleted = strcmp(status, "DELETED") == 0;

        if (f->ended || number < f->number || (number == f->number && version <= f->version && !deleted))
                return;
        show_step(&op->show, x, at, number == f->number && strcmp(status, f->status) == 0);
        f->number = number;
        f->version = version;
        (void) snprintf(f->status, sizeof f->status, "%s", status);
        f->ended = final;
        f->succeeded = strcmp(status, "SUCCEEDED") == 0;
        if (final)
                check_all_ended(op);
}

/* Events may be missing: ask again for what has not ended, one after the other. */
static void ask_again(Operator *op, size_t from) {
        for (op->at = from; op->at < op->options->n_things; op->at++)
                if (!op->follow[op->at].ended) {
                        request(op, "describe", target(op));
                        return;
                }
        op->deadline = USEC_NEVER;
}

static bool status_is_final(const json_t *x) {
        ProtoStatus s = proto_status_parse(json_string_value(json_object_get(x, "status")) ?: "");

        return proto_status_terminal(s);
}

static void handle_asked_again(Operator *op, const json_t *answer) {
        const json_t *x = json_object_get(answer, "execution");

        if (!x) {
                fail(op, "%s",
                     json_string_value(json_object_get(answer, "error"))
                             ?: "the server's answer lacks an execution");
                return;
        }
        follow_execution(op, op->at, x, wall_usec(), status_is_final(x));
        if (!op->done)
                ask_again(op, op->at + 1);
}

/* ---- answers ---- */

static void handle_created(Operator *op, const json_t *x) {
        if (op->options->wait)
                follow_execution(op, op->at, x, wall_usec(), status_is_final(x));
        else
                show_created(&op->show, x);
        if (++op->at < op->options->n_things)
                request_create(op);
        else if (!op->options->wait)
                finish(op, EXIT_SUCCESS);
        else {
                op->following = true;
                op->deadline = USEC_NEVER;
        }
}

static void handle_page(Operator *op, const json_t *answer) {
        json_t *x;
        size_t i;

        if (op->listed == 0)
                show_list_head(&op->show);
        json_array_foreach(json_object_get(answer, "executions"), i, x) {
                show_list_row(&op->show, x);
                op->listed++;
        }
        if (json_is_true(json_object_get(answer, "more")))
                request_list(op);
        else
                finish(op, EXIT_SUCCESS);
}

static void handle_done(Operator *op, const char *participle) {
        if (op->options->json) {
                json_t *v CLEANUP_JSON = target(op);

                (void) json_object_set_new(v, participle, json_true());
                show_json(v);
        } else
                printf("%s job %s of thing %s\n", participle, op->options->job, op->options->thing[0]);
        finish(op, EXIT_SUCCESS);
}

static void handle_answer(Operator *op, const json_t *answer) {
        if (json_integer_value(json_object_get(answer, "id")) != op->id || op->deadline == USEC_NEVER)
                return;
        if (op->following && op->options->verb == VERB_CREATE) {
                handle_asked_again(op, answer);
                return;
        }
        if (!json_is_true(json_object_get(answer, "ok"))) {
                fail(op, "%s",
                     json_string_value(json_object_get(answer, "error"))
                             ?: "the server's answer cannot be read");
                return;
        }
        switch (op->options->verb) {
        case VERB_CREATE:
                handle_created(op, json_object_get(answer, "execution"));
                break;
        case VERB_CANCEL:
                handle_done(op, "cancelled");
                break;
        case VERB_DELETE:
                handle_done(op, "deleted");
                break;
        case VERB_DESCRIBE:
                show_execution(&op->show, json_object_get(answer, "execution"));
                finish(op, EXIT_SUCCESS);
                break;
        case VERB_LIST:
                handle_page(op, answer);
                break;
        case VERB_WATCH:
                op->following = true;
                op->deadline = USEC_NEVER;
                break;
        case VERB_SERVE:
        case VERB_COUNT:
                assert(false);
        }
}

/* ---- events ---- */

static bool text_is(const json_t *o, const char *member, const char *want) {
        const char *text = json_string_value(json_object_get(o, member));

        return text && strcmp(text, want) == 0;
}

static void handle_change(Operator *op, const json_t *event) {
        const Options *o = op->options;

        if (o->job && !text_is(event, "jobId", o->job))
                return;
        if (o->verb == VERB_WATCH) {
                if (o->n_things == 0 || text_is(event, "thingName", o->thing[0]))
                        show_event(&op->show, event);
                return;
        }
        /* Before our create was answered an event may be of somebody else's job with this id; the answer repeats ours. */
        for (size_t i = 0; i < o->n_things && !op->done; i++)
                if (text_is(event, "thingName", o->thing[i]) && op->follow[i].number > 0)
                        follow_execution(op, i, event,
                                         (uint64_t) json_integer_value(json_object_get(event, "at")),
                                         json_is_true(json_object_get(event, "final")));
}

static void handle_message(Operator *op, const TransportEvent *event) {
        json_t *v CLEANUP_JSON = NULL;

        if (event->retained || json_parse_object(event->payload, event->payload_len, &v, NULL) < 0)
                return;
        if (strcmp(event->topic, op->reply_topic) == 0)
                handle_answer(op, v);
        else if (text_is(v, "type", "serving")) {
                /* It may have started afresh, or its events may have been lost on the way to the broker. */
                if (op->following && op->follow)
                        ask_again(op, 0);
        } else if (text_is(v, "type", "execution") && (op->follow || op->options->verb == VERB_WATCH))
                handle_change(op, v);
}

/* ---- the transport's events ---- */

static void handle_online(Operator *op) {
        if (!op->was_online)
                start(op);
        else if (op->following && op->follow)
                ask_again(op, 0);
        op->was_online = true;
}

static void handle_offline(Operator *op, const TransportEvent *event) {
        const char *text = event->text ?: "the connection to the broker is lost";

        if (!op->following) {
                fail(op, "%s", text);
                return;
        }
        show_finish(&op->show);
        fprintf(stderr, "iot-jobs-sim: %s; trying again\n", text);
        op->deadline = USEC_NEVER;
}

static void handle_event(const TransportEvent *event, void *userdata) {
        Operator *op = userdata;

        if (op->done)
                return;
        switch (event->type) {
        case TRANSPORT_ONLINE:
                handle_online(op);
                break;
        case TRANSPORT_OFFLINE:
                handle_offline(op, event);
                break;
        case TRANSPORT_REFUSED:
                fail(op, "the broker refuses the subscription to %s", event->topic);
                break;
        case TRANSPORT_MESSAGE:
                handle_message(op, event);
                break;
        case TRANSPORT_SUBACK:
        case TRANSPORT_PUBACK:      /* never asked for here */
        case TRANSPORT_CERTIFICATE: /* the server says so; an expired one fails to connect */
                break;
        case TRANSPORT_DROPPED:
                show_finish(&op->show);
                fprintf(stderr, "iot-jobs-sim: %s\n", event->text ?: "a message was lost");
                break;
        }
}

/* ---- the document ---- */

static int read_file(const char *path, Buf *ret, Error *e) {
        int fd CLEANUP_FD = -1;
        char chunk[16384];
        ssize_t n;

        if (strcmp(path, "-") == 0)
                fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
        else
                fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
                return error_errno(e, errno, "%s", path);
        while ((n = read(fd, chunk, sizeof chunk)) > 0) {
                buf_append(ret, chunk, (size_t) n);
                if (ret->len > TEMPLATE_MAX)
                        return error_set(e, EFBIG, "%s: larger than %d bytes", path, TEMPLATE_MAX);
        }
        if (n < 0)
                return error_errno(e, errno, "%s", path);
        return buf_error(ret) ? error_set(e, ENOMEM, "%s: out of memory", path) : 0;
}

static void trim(Buf *b) {
        static const char space[] = " \t\r\n";
        size_t front;

        if (!b->data)
                return;
        while (b->len > 0 && memchr(space, b->data[b->len - 1], sizeof space - 1))
                b->len--;
        b->data[b->len] = '\0';
        front = strspn(b->data, space);
        b->len -= front;
        memmove(b->data, b->data + front, b->len + 1);
}

/* What the service would refuse is refused here already, with the file's name. */
static int load_document(const Options *o, char **ret, Error *e) {
        Buf text CLEANUP_BUF = {}, filled CLEANUP_BUF = {};
        int r = read_file(o->document, &text, e);

        if (r < 0)
                return r;
        r = document_fill(text.data ?: "", text.len, o->parameter, o->n_parameters, &filled, e);
        trim(&filled);
        if (r == 0 && filled.len > LIMIT_DOCUMENT)
                r = error_set(e, EINVAL, "document: %zu bytes, at most %d are allowed", filled.len,
                              LIMIT_DOCUMENT);
        if (r == 0)
                r = document_check(filled.data ?: "", filled.len, e);
        if (r < 0)
                return error_wrap(e, "%s", o->document);
        *ret = buf_steal(&filled);
        return *ret ? 0 : error_set(e, ENOMEM, "%s: out of memory", o->document);
}

/* ---- main loop ---- */

static int operator_init(Operator *op, Error *e) {
        const Options *o = op->options;
        const char *filters[] = { op->reply_topic, NULL, NULL };
        int r;

        show_init(&op->show, o);
        if (o->verb == VERB_CREATE) {
                r = load_document(o, &op->document, e);
                if (r < 0)
                        return r;
        }
        if (o->wait) {
                op->follow = calloc(o->n_things, sizeof *op->follow);
                if (!op->follow)
                        return error_set(e, ENOMEM, "out of memory");
        }
        if (o->wait || o->verb == VERB_WATCH)
                filters[1] = CONTROL_EVENTS_TOPIC;
        connection_random_name(op->name);
        (void) snprintf(op->reply_topic, sizeof op->reply_topic, "%s%s", CONTROL_REPLY_TOPIC, op->name);
        r = connection_new(o, op->name, filters, 4, &op->transport, e);
        if (r < 0)
                return r;
        op->deadline = clock_boottime_usec() + 2 * (uint64_t) CONNECTION_ATTEMPT_USEC;
        r = transport_start(op->transport);
        return r < 0 ? error_errno(e, -r, "cannot start the network thread") : 0;
}

static void check_deadline(Operator *op) {
        if (op->done || clock_boottime_usec() < op->deadline)
                return;
        if (op->was_online)
                fail(op,
                     "no answer within %d s: is there an `iot-jobs-sim serve` on the broker at %s:%u, and "
                     "may this user "
                     "publish to %s?",
                     (int) (ANSWER_USEC / USEC_PER_SEC), op->options->host, op->options->port,
                     CONTROL_REQUEST_TOPIC);
        else
                fail(op, "%s:%u: the broker does not answer", op->options->host, op->options->port);
}

static void handle_signal(Operator *op) {
        show_finish(&op->show);
        /* Watching has no other end; everything else is cut off. */
        finish(op, op->options->verb == VERB_WATCH && op->following ? EXIT_SUCCESS : EXIT_FAILURE);
}

static void run(Operator *op) {
        int signals CLEANUP_FD = connection_signals();
        bool signalled;
        int r;

        if (signals < 0) {
                fail(op, "cannot receive signals: %s", strerror(-signals));
                return;
        }
        while (!op->done) {
                r = connection_wait(op->transport, signals, op->deadline, &signalled);
                if (r < 0) {
                        fail(op, "poll: %s", strerror(-r));
                        return;
                }
                transport_dispatch(op->transport, handle_event, op);
                check_deadline(op);
                if (signalled && !op->done)
                        handle_signal(op);
        }
}

int operate(const Options *o) {
        Operator op = { .options = o };
        Error e = {};

        if (operator_init(&op, &e) < 0)
                fail(&op, "%s", e.text);
        else
                run(&op);
        (void) transport_free(op.transport, CONNECTION_GOODBYE_USEC);
        free(op.follow);
        free(op.document);
        if (fflush(stdout) == EOF && op.exit_code == EXIT_SUCCESS) {
                fputs("iot-jobs-sim: cannot write to standard output\n", stderr);
                op.exit_code = EXIT_FAILURE;
        }
        return op.exit_code;
}
