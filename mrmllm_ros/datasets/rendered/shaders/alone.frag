// SPDX-License-Identifier: Apache-2.0
#version 330
out float covered;

void main() {
    covered = 1.0;
}
