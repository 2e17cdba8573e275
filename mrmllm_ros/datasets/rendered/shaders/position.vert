// SPDX-License-Identifier: Apache-2.0
#version 330
uniform mat4 model;
uniform mat4 view_projection;
in vec3 in_position;
out float depth;

void main() {
    gl_Position = view_projection * model * vec4(in_position, 1.0);
    depth = gl_Position.w;
}
