/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/keys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fileio.h"

static const char *const suffixes[] = { ".pem", ".pub" };

DEFINE_CLEANUP(DIR *, closedir)
#define CLEANUP_DIR __attribute__((cleanup(closedir_p)))
DEFINE_CLEANUP(BIO *, BIO_free)
#define CLEANUP_BIO __attribute__((cleanup(BIO_free_p)))

void trusted_keys_done(TrustedKeys *k) {
        for (size_t i = 0; i < k->n; i++)
                EVP_PKEY_free(k->keys[i].key);
        free(k->keys);
        *k = (TrustedKeys){ 0 };
}

/* Root's or the owner's, and nobody else may write it. `why` as an Error. */
static int check_trust(const struct stat *st, uid_t owner, Error *e) {
        if (st->st_uid != 0 && st->st_uid != owner)
                return error_set(e, EPERM, "it belongs to user %u, not to root or user %u", (unsigned) st->st_uid,
                                 (unsigned) owner);
        if (st->st_mode & (S_IWGRP | S_IWOTH))
                return error_set(e, EPERM, "it is writable by others (mode %04o)", st->st_mode & 07777U);
        return 0;
}

/* The id in a file's name; false = no name of a key. */
static bool parse_name(const char *name, char ret[static JWS_KID_MAX + 1]) {
        size_t len = strlen(name);

        for (size_t i = 0; i < ELEMENTSOF(suffixes); i++) {
                size_t n = strlen(suffixes[i]);

                if (len <= n || len - n > JWS_KID_MAX || strcmp(name + len - n, suffixes[i]) != 0)
                        continue;
                (void) snprintf(ret, JWS_KID_MAX + 1, "%.*s", (int) (len - n), name);
                return jws_kid_valid(ret);
        }
        return false;
}

/* A public key has no passphrase; without this OpenSSL would ask the terminal for one. */
static int no_passphrase(char *buf, int size, int writing, void *userdata) {
        (void) buf;
        (void) size;
        (void) writing;
        (void) userdata;
        return -1;
}

static int parse_key(const char *pem, size_t len, TrustedKey *k, Error *e) {
        CLEANUP_BIO BIO *bio = BIO_new_mem_buf(pem, (int) len);

        if (!bio)
                return error_set(e, ENOMEM, "no memory");
        k->key = PEM_read_bio_PUBKEY(bio, NULL, no_passphrase, NULL);
        if (!k->key)
                return error_set(e, EINVAL, "it is no public key in PEM (%s)", signature_openssl_reason());
        if (signature_algorithm(k->key, &k->algorithm) < 0)
                return error_set(e, EINVAL, "it is neither an Ed25519 nor a P-256 key");
        return 0;
}

/* -EINVAL, -EPERM: the file's fault, with why in e. Others: this machine's. */
static int read_key(int dir_fd, const char *name, uid_t owner, TrustedKey *k, Error *e) {
        CLEANUP_FD int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        CLEANUP_FREE char *pem = NULL;
        struct stat st;
        size_t len = 0;
        int r;

        if (fd < 0 && (errno == ELOOP || errno == EACCES || errno == ENXIO))
                return error_set(e, EINVAL, errno == ELOOP ? "it is a link" : "it cannot be opened");
        if (fd < 0 || fstat(fd, &st) < 0)
                return error_errno(e, errno, "it cannot be opened");
        if (!S_ISREG(st.st_mode))
                return error_set(e, EINVAL, "it is no regular file");
        r = check_trust(&st, owner, e);
        if (r < 0)
                return r;
        r = file_read_fd(fd, TRUSTED_KEY_BYTES_MAX, &pem, &len);
        if (r == -EFBIG)
                return error_set(e, EINVAL, "it is larger than %d bytes", TRUSTED_KEY_BYTES_MAX);
        if (r < 0)
                return error_errno(e, -r, "it cannot be read");
        return parse_key(pem, len, k, e);
}

static int add_key(int dir_fd, const char *name, uid_t owner, TrustedKeys *all, Error *e) {
        TrustedKey k = { 0 };
        int r;

        if (!parse_name(name, k.kid))
                return 0;
        if (all->n == TRUSTED_KEYS_MAX)
                return error_set(e, E2BIG, "more than %d keys", TRUSTED_KEYS_MAX);
        r = read_key(dir_fd, name, owner, &k, e);
        if (r == -ENOENT) /* gone since it was listed */
                return 0;
        if (r == -EINVAL || r == -EPERM) {
                EVP_PKEY_free(TAKE(k.key));
                (void) snprintf(k.why, sizeof k.why, "%.*s", TRUSTED_KEY_WHY_MAX - 1, e->text);
        } else if (r < 0)
                return error_wrap(e, "key %s", name);
        all->keys[all->n++] = k;
        return 0;
}

static int by_kid(const void *a, const void *b) {
        return strcmp(((const TrustedKey *) a)->kid, ((const TrustedKey *) b)->kid);
}

int trusted_keys_load(int dir_fd, uid_t owner, TrustedKeys *ret, Error *e) {
        CLEANUP_TRUSTED_KEYS TrustedKeys all = { 0 };
        CLEANUP_DIR DIR *d = NULL;
        /* Opened again: the descriptor may be O_PATH, and its position is not ours. */
        int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        const struct dirent *entry;
        struct stat st;
        int r = 0;

        if (fd < 0)
                return error_errno(e, errno, "directory of trusted keys");
        d = fdopendir(fd);
        if (!d) {
                r = error_errno(e, errno, "directory of trusted keys");
                (void) close(fd);
                return r;
        }
        if (fstat(fd, &st) < 0)
                return error_errno(e, errno, "directory of trusted keys");
        r = check_trust(&st, owner, e);
        if (r < 0)
                return error_wrap(e, "directory of trusted keys");
        all.keys = calloc(TRUSTED_KEYS_MAX, sizeof *all.keys);
        if (!all.keys)
                return error_set(e, ENOMEM, "directory of trusted keys: no memory");
        for (errno = 0; r == 0 && (entry = readdir(d)); errno = 0)
                r = add_key(fd, entry->d_name, owner, &all, e);
        if (r == 0 && errno != 0)
                r = error_errno(e, errno, "directory of trusted keys");
        if (r < 0)
                return r;
        qsort(all.keys, all.n, sizeof *all.keys, by_kid);
        *ret = all;
        all = (TrustedKeys){ 0 };
        return 0;
}
