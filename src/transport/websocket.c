/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/websocket.h"

#include <errno.h>
#include <string.h>
#include <wslay/wslay.h>

#include "base/clock.h"
#include "transport/reason.h"

enum {
        CODE_SIZE = 2,        /* of a closing frame's reason code, before its text */
        CLOSE_TEXT_MAX = 124, /* a control frame's payload, without the code, with a NUL */
};

struct Websocket {
        wslay_event_context_ptr ctx;
        WebsocketBelow below;
        unsigned char *early; /* NULL once it was read */
        size_t early_len;

        /* During websocket_read(): what came, how far libwslay has taken it, and the payload. Both are in the caller's
         * buffer: payload never overtakes what it was made from, since libwslay copies first. */
        unsigned char *buf;
        size_t in_len, in_at, out_len;
        bool is_data;           /* of the frame that is being read */
        bool is_text, is_large; /* some frame was */

        size_t promised; /* bytes of the message that is being written */
        Error error;     /* of the last write below */
        char close_text[CLOSE_TEXT_MAX];
};

/* ---- libwslay's side ---- */

static ssize_t on_recv(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, int flags, void *userdata) {
        Websocket *w = userdata;
        size_t n = MIN_OF(len, w->in_len - w->in_at);

        (void) flags;
        if (w->is_text || w->is_large || wslay_event_get_queued_msg_count(ctx) > WEBSOCKET_REPLIES_MAX) {
                wslay_event_set_error(ctx, WSLAY_ERR_CALLBACK_FAILURE);
                return -1;
        }
        if (n == 0) {
                wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
                return -1;
        }
        memcpy(buf, w->buf + w->in_at, n);
        w->in_at += n;
        return (ssize_t) n;
}

static ssize_t on_send(wslay_event_context_ptr ctx, const uint8_t *data, size_t len, int flags, void *userdata) {
        Websocket *w = userdata;
        ssize_t n = w->below.write(w->below.userdata, data, len, &w->error);

        (void) flags;
        if (n > 0)
                return n;
        wslay_event_set_error(ctx, n == 0 ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
        return -1;
}

static int on_mask(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, void *userdata) {
        (void) ctx, (void) userdata;
        random_bytes(buf, len);
        return 0;
}

static void on_frame(wslay_event_context_ptr ctx, const struct wslay_event_on_frame_recv_start_arg *arg,
                     void *userdata) {
        Websocket *w = userdata;

        (void) ctx;
        w->is_data = !wslay_is_ctrl_frame(arg->opcode);
        if (arg->opcode == WSLAY_TEXT_FRAME)
                w->is_text = true;
        if (arg->payload_length > WEBSOCKET_FRAME_MAX)
                w->is_large = true;
}

static void on_chunk(wslay_event_context_ptr ctx, const struct wslay_event_on_frame_recv_chunk_arg *arg,
                     void *userdata) {
        Websocket *w = userdata;

        (void) ctx;
        if (!w->is_data || w->is_text || w->is_large)
                return;
        memmove(w->buf + w->out_len, arg->data, arg->data_length);
        w->out_len += arg->data_length;
}

static void on_message(wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *arg, void *userdata) {
        Websocket *w = userdata;

        (void) ctx;
        if (arg->opcode != WSLAY_CONNECTION_CLOSE || arg->msg_length <= CODE_SIZE)
                return;
        memcpy(w->close_text, arg->msg + CODE_SIZE, MIN_OF(arg->msg_length - CODE_SIZE, sizeof w->close_text - 1));
        reason_clean(w->close_text);
}

int websocket_new(const WebsocketBelow *below, const void *early, size_t early_len, Websocket **ret) {
        static const struct wslay_event_callbacks callbacks = {
                .recv_callback = on_recv,
                .send_callback = on_send,
                .genmask_callback = on_mask,
                .on_frame_recv_start_callback = on_frame,
                .on_frame_recv_chunk_callback = on_chunk,
                .on_msg_recv_callback = on_message,
        };
        Websocket *w = calloc(1, sizeof *w);

        if (!w)
                return -ENOMEM;
        w->below = *below;
        if (early_len > 0) {
                w->early = malloc(early_len);
                w->early_len = early_len;
        }
        if ((early_len > 0 && !w->early) || wslay_event_context_client_init(&w->ctx, &callbacks, w) != 0) {
                (void) websocket_free(w);
                return -ENOMEM;
        }
        if (early_len > 0)
                memcpy(w->early, early, early_len);
        wslay_event_config_set_no_buffering(w->ctx, 1); /* payload is handed on as it comes, never collected */
        *ret = w;
        return 0;
}

Websocket *websocket_free(Websocket *w) {
        if (!w)
                return NULL;
        wslay_event_context_free(w->ctx);
        free(w->early);
        free(w);
        return NULL;
}

/* ---- our side ---- */

static const char *code_name(unsigned code) {
        switch (code) {
        case WSLAY_CODE_NORMAL_CLOSURE:
                return "normal closure";
        case WSLAY_CODE_GOING_AWAY:
                return "going away";
        case WSLAY_CODE_PROTOCOL_ERROR:
                return "protocol error";
        case WSLAY_CODE_UNSUPPORTED_DATA:
                return "unsupported data";
        case WSLAY_CODE_INVALID_FRAME_PAYLOAD_DATA:
                return "invalid payload";
        case WSLAY_CODE_POLICY_VIOLATION:
                return "policy violation";
        case WSLAY_CODE_MESSAGE_TOO_BIG:
                return "message too big";
        case WSLAY_CODE_INTERNAL_SERVER_ERROR:
                return "internal error";
        default: /* any number may come */
                return "";
        }
}

/* Why nothing more is read. */
static int explain_end(const Websocket *w, Error *e) {
        unsigned code = wslay_event_get_status_code_received(w->ctx);
        const char *name = code_name(code), *text = w->close_text;

        if (w->is_text)
                return error_set(e, EPROTO, "the broker sent a WebSocket text message; MQTT comes in binary ones");
        if (wslay_event_get_close_received(w->ctx) && code == WSLAY_CODE_ABNORMAL_CLOSURE)
                return error_set(e, ECONNRESET, "the broker closed the WebSocket connection");
        if (wslay_event_get_close_received(w->ctx))
                return error_set(e, ECONNRESET, "the broker closed the WebSocket connection%s%s%s%s%s",
                                 name[0] ? " (" : "", name, name[0] ? ")" : "", text[0] ? ": " : "", text);
        if (w->is_large || wslay_event_get_status_code_sent(w->ctx) == WSLAY_CODE_MESSAGE_TOO_BIG)
                return error_set(e, EMSGSIZE, "the broker sent a WebSocket frame of more than %d bytes",
                                 WEBSOCKET_FRAME_MAX);
        if (wslay_event_get_queued_msg_count(w->ctx) > WEBSOCKET_REPLIES_MAX)
                return error_set(e, EPROTO, "the broker sends WebSocket pings and does not read the answers");
        return error_set(e, EPROTO, "what the broker sent is no WebSocket");
}

/* 0, also where something is left; negative errno. */
static int flush(Websocket *w, Error *e) {
        int r;

        if (!wslay_event_want_write(w->ctx))
                return 0;
        r = wslay_event_send(w->ctx);
        if (r == 0)
                return 0;
        if (r == WSLAY_ERR_CALLBACK_FAILURE && w->error.code != 0) {
                if (e)
                        *e = w->error;
                return -w->error.code;
        }
        return error_errno(e, ENOMEM, "WebSocket frame");
}

/* Raw bytes into w->buf. */
static ssize_t fetch(Websocket *w, size_t size, Error *e) {
        ssize_t n;

        if (!w->early) {
                n = w->below.read(w->below.userdata, w->buf, size, e);
        } else {
                n = (ssize_t) MIN_OF(size, w->early_len);
                memcpy(w->buf, w->early, (size_t) n);
                w->early_len -= (size_t) n;
                memmove(w->early, w->early + n, w->early_len);
                if (w->early_len == 0) {
                        free(w->early);
                        w->early = NULL;
                }
        }
        w->in_at = w->out_len = 0;
        w->in_len = n > 0 ? (size_t) n : 0;
        return n;
}

ssize_t websocket_read(Websocket *w, void *buf, size_t size, Error *e) {
        w->buf = buf;
        for (int i = 0; i < WEBSOCKET_IDLE_ROUNDS_MAX; i++) {
                bool reading = wslay_event_get_read_enabled(w->ctx);
                int r = flush(w, reading ? e : NULL);
                ssize_t n;

                if (!reading)
                        return explain_end(w, e);
                if (r < 0)
                        return r;
                n = fetch(w, size, e);
                if (n <= 0)
                        return n;
                r = wslay_event_recv(w->ctx);
                if (w->out_len > 0)
                        return (ssize_t) w->out_len; /* what is wrong behind it is found again */
                if (r == WSLAY_ERR_NOMEM)
                        return error_errno(e, ENOMEM, "WebSocket frame");
                if (r != 0)
                        return explain_end(w, e);
        }
        return error_set(e, EPROTO, "the broker sends a flood of WebSocket frames without content");
}

ssize_t websocket_write(Websocket *w, const void *data, size_t len, Error *e) {
        size_t taken;
        int r = 0;

        if (len == 0)
                return 0;
        if (w->promised == 0) {
                r = wslay_event_queue_msg(
                        w->ctx,
                        &(struct wslay_event_msg){ .opcode = WSLAY_BINARY_FRAME, .msg = data, .msg_length = len });
                if (r == WSLAY_ERR_NO_MORE_MSG)
                        return explain_end(w, e);
                if (r != 0)
                        return error_errno(e, ENOMEM, "WebSocket frame");
                w->promised = len;
        }
        r = flush(w, e);
        if (r < 0)
                return r;
        if (wslay_event_want_write(w->ctx))
                return 0;
        taken = w->promised;
        w->promised = 0;
        return (ssize_t) taken;
}

bool websocket_wants_write(const Websocket *w) {
        return wslay_event_want_write(w->ctx) != 0;
}

void websocket_close(Websocket *w) {
        if (wslay_event_queue_close(w->ctx, WSLAY_CODE_NORMAL_CLOSURE, NULL, 0) == 0)
                (void) flush(w, NULL);
}
