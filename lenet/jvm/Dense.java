package lenet;

import com.intel.analytics.bigdl.mkl.MKL;

/** A linear layer on the rows of a matrix, and the tanh that may follow it. */
final class Dense {
    final int inputs;
    final int outputs;

    Dense(int inputs, int outputs) {
        this.inputs = inputs;
        this.outputs = outputs;
    }

    void forward(float[] x, int count, Floats weight, Floats bias, float[] y) {
        for (int row = 0; row < count; row++) {
            System.arraycopy(bias.array, bias.offset, y, row * outputs, outputs);
        }
        MKL.vsgemm('t', 'n', outputs, count, inputs, 1f, weight.array, weight.offset, inputs,
                x, 0, inputs, 1f, y, 0, outputs);
    }

    /** Adds to the gradients of weight and bias; writes that of x. */
    void backward(float[] x, float[] dy, int count, Floats weight, Floats weightGradient,
            Floats biasGradient, float[] dx) {
        for (int row = 0; row < count; row++) {
            Vectors.add(dy, row * outputs, biasGradient.array, biasGradient.offset, outputs);
        }
        MKL.vsgemm('n', 't', inputs, outputs, count, 1f, x, 0, inputs, dy, 0, outputs,
                1f, weightGradient.array, weightGradient.offset, inputs);
        MKL.vsgemm('n', 'n', inputs, count, outputs, 1f, weight.array, weight.offset, inputs,
                dy, 0, outputs, 0f, dx, 0, inputs);
    }
}
