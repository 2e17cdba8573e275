// SPDX-License-Identifier: Apache-2.0
#version 330
uniform mat4 model;
uniform mat4 view_projection;
in vec3 in_position;
in vec3 in_normal;
in vec2 in_uv;
out vec3 position;
out vec3 normal;
out vec2 uv;

void main() {
    vec4 world = model * vec4(in_position, 1.0);
    position = world.xyz;
    normal = mat3(model) * in_normal;
    uv = in_uv;
    gl_Position = view_projection * world;
}
