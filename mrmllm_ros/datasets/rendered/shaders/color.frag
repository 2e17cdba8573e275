// SPDX-License-Identifier: Apache-2.0
#version 330
uniform sampler2D surface;
uniform sampler2D shadow_map;
uniform mat4 shadow_projection;
uniform vec3 albedo;
uniform float opacity;
uniform float shininess;
uniform vec3 eye;
uniform vec3 ambient;
uniform vec3 main_direction;
uniform vec3 main_color;
uniform vec3 lamp_positions[4];
uniform vec3 lamp_colors[4];
uniform float exposure;
in vec3 position;
in vec3 normal;
in vec2 uv;
out vec4 color;

// Share of the main light that arrives, from 3 x 3 samples of the shadow map.
float lit(float slope) {
    vec3 p = (shadow_projection * vec4(position, 1.0)).xyz * 0.5 + 0.5;
    if (p.x < 0.0 || p.x > 1.0 || p.y < 0.0 || p.y > 1.0) return 1.0;
    // The map ends behind the last object that casts a shadow; floor and walls are farther away.
    p.z = min(p.z, 1.0);
    float bias = 0.0015 + 0.004 * (1.0 - slope);
    vec2 texel = 1.0 / vec2(textureSize(shadow_map, 0));
    float sum = 0.0;
    for (int x = -1; x <= 1; x++)
        for (int y = -1; y <= 1; y++)
            sum += texture(shadow_map, p.xy + vec2(x, y) * texel).r + bias >= p.z ? 1.0 : 0.0;
    return sum / 9.0;
}

float highlight(vec3 n, vec3 to_light, vec3 to_eye) {
    return shininess * 0.35 * pow(max(dot(n, normalize(to_light + to_eye)), 0.0), 40.0);
}

void main() {
    vec3 to_eye = normalize(eye - position);
    vec3 n = normalize(normal);
    // Faces of some models are wound the wrong way round.
    if (dot(n, to_eye) < 0.0) n = -n;
    vec3 base = pow(albedo * texture(surface, uv).rgb, vec3(2.2));
    vec3 light = ambient * mix(0.55, 1.0, n.z * 0.5 + 0.5);
    vec3 gloss = vec3(0.0);
    float facing = max(dot(n, main_direction), 0.0);
    if (facing > 0.0) {
        vec3 arriving = main_color * lit(facing);
        light += arriving * facing;
        gloss += arriving * highlight(n, main_direction, to_eye);
    }
    for (int i = 0; i < 4; i++) {
        vec3 offset = lamp_positions[i] - position;
        vec3 to_lamp = normalize(offset);
        vec3 arriving = lamp_colors[i] / (0.6 + dot(offset, offset));
        light += arriving * max(dot(n, to_lamp), 0.0);
        gloss += arriving * highlight(n, to_lamp, to_eye);
    }
    vec3 radiance = exposure * (base * light + gloss);
    // Filmic shoulder: bright surfaces keep their color.
    color = vec4(pow(radiance / (radiance * 0.25 + 0.85), vec3(1.0 / 2.2)), opacity);
}
