// SPDX-License-Identifier: Apache-2.0
#version 330
uniform int instance;
in float depth;
layout(location = 0) out int object;
layout(location = 1) out float meters;

void main() {
    object = instance;
    meters = depth;
}
