# SPDX-License-Identifier: Apache-2.0
SUMMARY = "Run AWS IoT Jobs on a device"
DESCRIPTION = "A daemon that hands job documents of AWS IoT to handler scripts and reports what became of them"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://LICENSE;md5=3b83ef96387f14655fc854ddc3c6bd57"

# libcheck is for the unit tests, which are built, but not run, here.
DEPENDS = "jansson libcheck libconfig mosquitto openssl systemd wslay"

inherit externalsrc meson pkgconfig features_check systemd useradd
REQUIRED_DISTRO_FEATURES = "systemd"
EXTERNALSRC = "${@os.path.realpath(d.getVar('THISDIR') + '/../../../..')}"

# There are no static libraries here to link the runner with.
EXTRA_OEMESON = "-Dstatic_runner=disabled -Dunit_dir=${systemd_system_unitdir}"

USERADD_PACKAGES = "${PN}"
USERADD_PARAM:${PN} = "--system --no-create-home --home-dir / --shell /sbin/nologin --user-group iot-jobs"
SYSTEMD_SERVICE:${PN} = "iot-jobs-agent.service iot-jobs-runner.socket"

PACKAGES =+ "libiotjobs iot-jobs-sim"
FILES:libiotjobs = "${libdir}/libiotjobs.so.*"
FILES:iot-jobs-sim = "${bindir}/iot-jobs-sim"
FILES:${PN} += " \
    ${systemd_system_unitdir} \
    ${nonarch_libdir}/iot-jobs \
    ${nonarch_libdir}/systemd \
    ${nonarch_libdir}/sysusers.d \
    ${nonarch_libdir}/tmpfiles.d \
    ${datadir}/bash-completion \
"
