package lenet;

/** Loops that the JVM's compiler turns into vector instructions. */
final class Vectors {
    private Vectors() {
    }

    /** to += from. */
    static void add(float[] from, int fromOffset, float[] to, int toOffset, int length) {
        for (int i = 0; i < length; i++) {
            to[toOffset + i] += from[fromOffset + i];
        }
    }

    /** gradient *= the derivative of tanh where it has the value y. */
    static void tanhBackward(float[] gradient, float[] y, int yOffset, int length) {
        for (int i = 0; i < length; i++) {
            gradient[i] *= 1f - y[yOffset + i] * y[yOffset + i];
        }
    }

    static float sum(float[] values, int offset, int length) {
        float sum = 0f;
        for (int i = 0; i < length; i++) {
            sum += values[offset + i];
        }
        return sum;
    }
}
