/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/cloud.h"

#include <errno.h>
#include <fcntl.h>
#include <iotjobs/sd-event.h>
#include <stdio.h>
#include <string.h>

#include "base/fileio.h"

enum {
        PASSWORD_MAX = 64 * 1024,
        KEEP_ALIVE_MIN = 30, /* what AWS IoT takes; it counts smaller and larger values as these, and so do we */
        KEEP_ALIVE_MAX = 1200,
};

struct Cloud {
        IotJobsClient *client;
        IotJobsSdEvent glue;
        bool attached;
        CloudHandlers handlers;
        void *userdata;
};

static int failed(int r, const IotJobsError *from, Error *e) {
        return error_set(e, -r, "%s", from->text);
}

/* ---- configuration ---- */

static void wipe(char *secret) {
        if (secret)
                explicit_bzero(secret, strlen(secret));
        free(secret);
}
DEFINE_CLEANUP(char *, wipe)

/* The file's content without one closing line break; NULL for no file. */
static int read_password(const char *key, const char *path, char **ret, Error *e) {
        size_t len;
        int r;

        if (!path)
                return 0;
        r = file_read_at(AT_FDCWD, path, PASSWORD_MAX, ret, &len);
        if (r < 0)
                return error_errno(e, -r, "%s: %s", key, path);
        if (len > 0 && (*ret)[len - 1] == '\n')
                (*ret)[len - 1] = '\0';
        return 0;
}

static int configure_passwords(IotJobsClient *client, const Config *c, Error *e) {
        char *password CLEANUP(wipe) = NULL, *proxy_password CLEANUP(wipe) = NULL;
        IotJobsError ie = {};
        int r = read_password("credentials.password_file", c->password_file, &password, e);

        if (r == 0)
                r = read_password("connection.proxy_password_file", c->proxy_password_file, &proxy_password, e);
        if (r < 0)
                return r;
        if (c->username)
                r = iotjobs_client_configure_username_password(client, c->username, password, &ie);
        if (r >= 0 && c->proxy)
                r = iotjobs_client_configure_proxy(client, c->proxy, proxy_password, &ie);
        return r < 0 ? failed(r, &ie, e) : 0;
}

static int configure_credentials(IotJobsClient *client, const Config *c, IotJobsError *ie) {
        int r = c->key_uri ? iotjobs_client_configure_key_uri(client, c->ca_file, c->key_uri, c->engine, c->cert_file, ie)
                           : iotjobs_client_configure_credentials(client, c->ca_file, c->key_file, c->cert_file, ie);

        if (r >= 0 && c->region)
                r = iotjobs_client_configure_region(client, c->region, ie);
        if (r >= 0 && c->aws_credentials_file)
                r = iotjobs_client_configure_iam_credentials_file(client, c->aws_credentials_file, NULL, ie);
        return r;
}

static int configure_connection(IotJobsClient *client, const Config *c, IotJobsError *ie) {
        int keep_alive = (int) MIN_OF(MAX_OF(c->keep_alive, KEEP_ALIVE_MIN), KEEP_ALIVE_MAX);
        int r = iotjobs_client_configure_endpoint(client, c->endpoint, (int) c->port, ie);

        if (r >= 0)
                r = iotjobs_client_configure_alpn(client, c->alpn, ie);
        if (r >= 0)
                r = iotjobs_client_configure_reconnect(client, (int) c->reconnect_min, (int) c->reconnect_max, (int) c->stable,
                                                       ie);
        if (r >= 0)
                r = iotjobs_client_configure_publish_rate(client, (unsigned) c->publish_rate, ie);
        if (r >= 0)
                r = iotjobs_client_configure_timeouts(client, (int) c->connect_timeout, (int) c->operation_timeout, ie);
        if (r >= 0)
                r = iotjobs_client_configure_keep_alive(client, keep_alive, ie);
        return r;
}

/* ---- what comes ---- */

static ProtoStatus status_in(IotJobsStatus status) {
        switch (status) {
        case IOTJOBS_STATUS_NOT_SET:
        case IOTJOBS_STATUS_UNKNOWN:
                return PROTO_STATUS_NONE;
        case IOTJOBS_STATUS_QUEUED:
                return PROTO_STATUS_QUEUED;
        case IOTJOBS_STATUS_IN_PROGRESS:
                return PROTO_STATUS_IN_PROGRESS;
        case IOTJOBS_STATUS_FAILED:
                return PROTO_STATUS_FAILED;
        case IOTJOBS_STATUS_SUCCEEDED:
                return PROTO_STATUS_SUCCEEDED;
        case IOTJOBS_STATUS_CANCELED:
                return PROTO_STATUS_CANCELED;
        case IOTJOBS_STATUS_REJECTED:
                return PROTO_STATUS_REJECTED;
        case IOTJOBS_STATUS_TIMED_OUT:
                return PROTO_STATUS_TIMED_OUT;
        case IOTJOBS_STATUS_REMOVED:
                return PROTO_STATUS_REMOVED;
        }
        return PROTO_STATUS_NONE;
}

static ProtoCode code_in(IotJobsCode code) {
        switch (code) {
        case IOTJOBS_CODE_NONE:
                return PROTO_CODE_NONE;
        case IOTJOBS_CODE_INVALID_TOPIC:
                return PROTO_CODE_INVALID_TOPIC;
        case IOTJOBS_CODE_INVALID_JSON:
                return PROTO_CODE_INVALID_JSON;
        case IOTJOBS_CODE_INVALID_REQUEST:
                return PROTO_CODE_INVALID_REQUEST;
        case IOTJOBS_CODE_INVALID_STATE_TRANSITION:
                return PROTO_CODE_INVALID_STATE_TRANSITION;
        case IOTJOBS_CODE_RESOURCE_NOT_FOUND:
                return PROTO_CODE_RESOURCE_NOT_FOUND;
        case IOTJOBS_CODE_VERSION_MISMATCH:
                return PROTO_CODE_VERSION_MISMATCH;
        case IOTJOBS_CODE_INTERNAL_ERROR:
                return PROTO_CODE_INTERNAL_ERROR;
        case IOTJOBS_CODE_REQUEST_THROTTLED:
                return PROTO_CODE_REQUEST_THROTTLED;
        case IOTJOBS_CODE_TERMINAL_STATE_REACHED:
                return PROTO_CODE_TERMINAL_STATE_REACHED;
        case IOTJOBS_CODE_UNKNOWN:
                return PROTO_CODE_UNKNOWN;
        }
        return PROTO_CODE_UNKNOWN;
}

static TopicKind kind_in(IotJobsTopicType type) {
        switch (type) {
        case IOTJOBS_TOPIC_UNRECOGNIZED:
        case IOTJOBS_TOPIC_WILDCARD:
                return TOPIC_UNRECOGNIZED;
        case IOTJOBS_TOPIC_GET_PENDING:
                return TOPIC_GET_PENDING;
        case IOTJOBS_TOPIC_START_NEXT:
                return TOPIC_START_NEXT;
        case IOTJOBS_TOPIC_DESCRIBE:
                return TOPIC_DESCRIBE;
        case IOTJOBS_TOPIC_UPDATE:
                return TOPIC_UPDATE;
        case IOTJOBS_TOPIC_NOTIFY:
                return TOPIC_NOTIFY;
        case IOTJOBS_TOPIC_NOTIFY_NEXT:
                return TOPIC_NOTIFY_NEXT;
        }
        return TOPIC_UNRECOGNIZED;
}

/* Borrowed: the engine copies what it keeps, and nobody frees this. */
static void details_in(const IotJobsExecution *x, ProtoDetails *ret) {
        for (ret->n = 0; ret->n < x->n_details && ret->n < ELEMENTSOF(ret->pair); ret->n++) {
                ret->pair[ret->n].key = (char *) x->details[ret->n].key;
                ret->pair[ret->n].value = (char *) x->details[ret->n].value;
        }
}

static void execution_in(const IotJobsExecution *x, ProtoExecution *ret) {
        *ret = (ProtoExecution) {
                .status = status_in(x->status),
                .queued_at = x->queued_at,
                .started_at = x->started_at,
                .last_updated_at = x->last_updated_at,
                .version = x->version,
                .number = x->execution_number,
                .seconds_left = x->seconds_left,
                .document = x->document,
                .document_len = x->document_len,
        };
        (void) snprintf(ret->job_id, sizeof ret->job_id, "%s", x->job_id);
        details_in(x, &ret->details);
}

static void state_in(const IotJobsExecution *x, ProtoMessage *ret) {
        ret->has_state = true;
        ret->state_status = status_in(x->status);
        ret->state_version = x->version;
        ret->document = x->document;
        ret->document_len = x->document_len;
        details_in(x, &ret->state_details);
}

static void message_in(const IotJobsMessage *m, ProtoMessage *ret, ProtoExecution list[static LIMIT_PENDING_LISTED_MAX]) {
        proto_message_init(ret, kind_in(m->type), m->reply == IOTJOBS_REPLY_ACCEPTED   ? TOPIC_ACCEPTED
                                                  : m->reply == IOTJOBS_REPLY_REJECTED ? TOPIC_REJECTED
                                                                                       : TOPIC_REQUEST);
        (void) snprintf(ret->job_id, sizeof ret->job_id, "%s", m->job_id);
        ret->has_token = m->client_token;
        (void) snprintf(ret->token, sizeof ret->token, "%s", m->client_token ? m->client_token : "");
        ret->timestamp = m->timestamp;
        ret->list = list;
        for (; ret->n_list < m->n_pending && ret->n_list < LIMIT_PENDING_LISTED_MAX; ret->n_list++)
                execution_in(&m->pending[ret->n_list], &list[ret->n_list]);
        ret->has_execution = m->execution;
        if (m->execution)
                execution_in(m->execution, &ret->execution);
        if (m->state)
                state_in(m->state, ret);
        ret->code = code_in(m->code);
        (void) snprintf(ret->message, sizeof ret->message, "%s", m->error_message);
        (void) snprintf(ret->passed_over, sizeof ret->passed_over, "%s", m->passed_over ? m->passed_over : "");
}

static void on_message(IotJobsClient *client, const IotJobsMessage *m, void *userdata) {
        ProtoExecution list[LIMIT_PENDING_LISTED_MAX];
        Cloud *cloud = userdata;
        ProtoMessage message;

        (void) client;
        if (m->fault) {
                cloud->handlers.unusable(m->topic, m->fault, cloud->userdata);
                return;
        }
        message_in(m, &message, list);
        cloud->handlers.message(m->topic, &message, cloud->userdata);
}

static void on_connection(IotJobsClient *client, const IotJobsConnectionEvent *event, void *userdata) {
        Cloud *cloud = userdata;

        (void) client;
        cloud->handlers.connection(event, cloud->userdata);
}

/* ---- what goes ---- */

static IotJobsStatus status_out(ProtoStatus status) {
        switch (status) {
        case PROTO_STATUS_NONE:
        case PROTO_STATUS_COUNT:
                return IOTJOBS_STATUS_NOT_SET;
        case PROTO_STATUS_QUEUED:
                return IOTJOBS_STATUS_QUEUED;
        case PROTO_STATUS_IN_PROGRESS:
                return IOTJOBS_STATUS_IN_PROGRESS;
        case PROTO_STATUS_SUCCEEDED:
                return IOTJOBS_STATUS_SUCCEEDED;
        case PROTO_STATUS_FAILED:
                return IOTJOBS_STATUS_FAILED;
        case PROTO_STATUS_TIMED_OUT:
                return IOTJOBS_STATUS_TIMED_OUT;
        case PROTO_STATUS_REJECTED:
                return IOTJOBS_STATUS_REJECTED;
        case PROTO_STATUS_REMOVED:
                return IOTJOBS_STATUS_REMOVED;
        case PROTO_STATUS_CANCELED:
                return IOTJOBS_STATUS_CANCELED;
        }
        return IOTJOBS_STATUS_NOT_SET;
}

static int send_update(IotJobsClient *client, IotJobsRequest *common, const ProtoRequest *r, IotJobsError *ie) {
        IotJobsDetail details[LIMIT_DETAILS_PAIRS];
        IotJobsUpdate update = {
                .job_id = r->job_id,
                .status = status_out(r->status),
                .details = r->has_details ? details : NULL,
                .expected_version = r->expected_version,
                .execution_number = r->execution_number,
                .include_state = r->include_state,
                .include_document = r->include_document,
                .has_step_timeout = r->step_timeout != 0,
                .step_timeout_minutes = r->step_timeout,
        };

        for (; r->has_details && update.n_details < r->details.n; update.n_details++)
                details[update.n_details] = (IotJobsDetail) { .key = r->details.pair[update.n_details].key,
                                                              .value = r->details.pair[update.n_details].value };
        return iotjobs_client_send_jobs_update(client, common, &update, ie);
}

int cloud_send(Cloud *cloud, const ProtoRequest *r, Error *e) {
        IotJobsRequest common = { .client_token = r->has_token ? r->token : NULL };
        IotJobsError ie = {};
        int n = -EINVAL;

        switch (r->kind) {
        case TOPIC_GET_PENDING:
                n = iotjobs_client_send_jobs_query(cloud->client, &common, IOTJOBS_TOPIC_GET_PENDING, NULL, &ie);
                break;
        case TOPIC_DESCRIBE:
                n = iotjobs_client_send_jobs_describe(cloud->client, &common, r->job_id, r->execution_number, r->include_document,
                                                      &ie);
                break;
        case TOPIC_UPDATE:
                n = send_update(cloud->client, &common, r, &ie);
                break;
        case TOPIC_UNRECOGNIZED:
        case TOPIC_START_NEXT: /* the engine claims by update: it has to know which execution it starts */
        case TOPIC_NOTIFY:
        case TOPIC_NOTIFY_NEXT:
                return error_set(e, EINVAL, "not a request of the agent");
        }
        return n < 0 ? failed(n, &ie, e) : 0;
}

/* ---- life ---- */

static int set_up(Cloud *cloud, const Config *c, Error *e) {
        IotJobsOptions options = iotjobs_options_default(c->client_id, c->thing_name);
        IotJobsError ie = {};
        int r;

        options.qos = (int) c->qos;
        options.protocol = (IotJobsProtocol) c->protocol;
        options.websocket = c->transport == CONFIG_TRANSPORT_WEBSOCKET;
        options.clean_session = c->clean_session;
        r = iotjobs_client_new(&options, &cloud->client, &ie);
        if (r < 0)
                return failed(r, &ie, e);
        r = configure_passwords(cloud->client, c, e);
        if (r < 0)
                return r;
        iotjobs_client_set_connection_handler(cloud->client, on_connection, cloud);
        r = configure_connection(cloud->client, c, &ie);
        if (r >= 0)
                r = configure_credentials(cloud->client, c, &ie);
        if (r >= 0)
                r = iotjobs_client_subscribe_all(cloud->client, on_message, cloud, &ie);
        return r < 0 ? failed(r, &ie, e) : 0;
}

int cloud_new(const Config *c, const CloudHandlers *handlers, void *userdata, Cloud **ret, Error *e) {
        Cloud *cloud CLEANUP(cloud_free) = calloc(1, sizeof *cloud);
        int r;

        if (!cloud)
                return error_errno(e, ENOMEM, "client");
        cloud->handlers = *handlers;
        cloud->userdata = userdata;
        r = set_up(cloud, c, e);
        if (r < 0)
                return r;
        *ret = TAKE(cloud);
        return 0;
}

int cloud_check(Cloud *cloud, Error *e) {
        IotJobsError ie = {};
        int r = iotjobs_client_check(cloud->client, &ie);

        return r < 0 ? failed(r, &ie, e) : 0;
}

int cloud_start(Cloud *cloud, sd_event *loop, Error *e) {
        IotJobsError ie = {};
        int r = iotjobs_sd_event_attach(&cloud->glue, cloud->client, loop, SD_EVENT_PRIORITY_NORMAL);

        if (r < 0)
                return error_errno(e, -r, "cannot add the client to the event loop");
        cloud->attached = true;
        r = iotjobs_client_connect_async(cloud->client, &ie);
        return r < 0 ? failed(r, &ie, e) : 0;
}

Cloud *cloud_free(Cloud *cloud) {
        if (!cloud)
                return NULL;
        if (cloud->attached)
                iotjobs_sd_event_detach(&cloud->glue);
        (void) iotjobs_client_free(cloud->client);
        free(cloud);
        return NULL;
}
