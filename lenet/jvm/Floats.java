package lenet;

import com.intel.analytics.bigdl.dllib.nn.abstractnn.Activity;
import com.intel.analytics.bigdl.dllib.tensor.Tensor;

/** The array behind a contiguous tensor of floats, and the part of it that the tensor is. */
final class Floats {
    final float[] array;
    final int offset;
    final int length;
    private final Tensor tensor;

    Floats(Activity activity) {
        tensor = (Tensor) activity;
        if (!tensor.isContiguous()) {
            throw new IllegalArgumentException("the tensor is not contiguous");
        }
        array = (float[]) tensor.storage().array();
        offset = tensor.storageOffset() - 1;
        length = tensor.nElement();
    }

    /** The first dimension: records of a batch. */
    int rows() {
        return tensor.size(1);
    }
}
