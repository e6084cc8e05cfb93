/* SPDX-License-Identifier: Apache-2.0 */
/* Everything of libiotjobs but the glue to libmosquitto and sd-event. */
#ifndef IOTJOBS_IOTJOBS_H
#define IOTJOBS_IOTJOBS_H

#include <iotjobs/client.h>
#include <iotjobs/jobs.h>
#include <iotjobs/topic.h>
#include <iotjobs/types.h>

#endif
