// SPDX-License-Identifier: Apache-2.0
// A device as AWS's own SDK for JavaScript makes one: told by one JSON argument, tells on stdout, line by line.
'use strict';

const fs = require('fs');
const options = JSON.parse(process.argv[2]);
const awsIot = require(options.sdk);

const jobs = awsIot.jobs({
        host: options.host, port: options.port, clientId: options.thing, caPath: options.ca, certPath: options.cert,
        keyPath: options.key, keepalive: 30,
});

function say(...words) {
        console.log(words.join(' '));
}

function fine(what, err) {
        if (err) {
                say('error', what, err.message || err);
                process.exit(1);
        }
}

jobs.on('error', (err) => say('error', 'connection', err.message || err));
jobs.on('connect', () => say('connect'));

jobs.subscribeToJobs(options.thing, 'succeed', (err, job) => {
        fine('subscribe', err);
        if (job.status.status !== 'QUEUED')
                return;
        say('job', job.id, job.operation, JSON.stringify(job.document));
        job.inProgress({ step: 'one' }, (e) => {
                fine('inProgress', e);
                job.succeeded({ step: 'all' }, (f) => fine('succeeded', f));
        });
});

jobs.subscribeToJobs(options.thing, 'hang', (err, job) => {
        fine('subscribe', err);
        if (job.status.status !== 'QUEUED')
                return;
        say('job', job.id, job.operation);
        job.inProgress({ step: 'waiting' }, (e) => {
                fine('inProgress', e);
                const timer = setInterval(() => {
                        if (!fs.existsSync(options.goOn))
                                return;
                        clearInterval(timer);
                        job.succeeded({ step: 'too late' }, (f) => say('sent', job.id, f ? 'failed' : 'succeeded'));
                }, 20);
        });
});

// The default: every other operation.
jobs.subscribeToJobs(options.thing, (err, job) => {
        fine('subscribe', err);
        if (job.status.status !== 'QUEUED')
                return;
        say('job', job.id, job.operation);
        job.failed({ reason: 'no such operation' }, (f) => fine('failed', f));
});

jobs.startJobNotifications(options.thing, (err) => {
        fine('startJobNotifications', err);
        say('started');
});
