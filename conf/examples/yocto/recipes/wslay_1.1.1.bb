# SPDX-License-Identifier: Apache-2.0
# WebSocket frames; the one dependency that no layer of OpenEmbedded has.
SUMMARY = "WebSocket library in C"
HOMEPAGE = "https://github.com/tatsuhiro-t/wslay"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://COPYING;md5=a3ce54bb6affd4d8851f1526229d6d0b"

SRC_URI = "git://github.com/tatsuhiro-t/wslay.git;protocol=https;branch=master"
SRCREV = "c9a84aa6df8512584c77c8cd15be9536b89c35aa"
S = "${WORKDIR}/git"

inherit cmake
EXTRA_OECMAKE = "-DWSLAY_SHARED=ON -DWSLAY_STATIC=OFF"
